package nat

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nat/internal/rng"
)

// killRun, when set, makes the test binary a process that trains: it is what
// TestKilledTraining kills. The value is the data, the run and the flag to
// resume, separated by newlines.
const killRun = "NAT_TEST_TRAIN"

func TestMain(m *testing.M) {
	if args := os.Getenv(killRun); args != "" {
		os.Exit(trainChild(strings.Split(args, "\n")))
	}
	os.Exit(m.Run())
}

// killOptions: a checkpoint every 7 steps of 10 an epoch, so that one is in the
// middle of an epoch and of a pool as a rule.
func killOptions(data, out string) Options {
	opt := small(data, out)
	opt.Epochs, opt.Assign, opt.Pool, opt.CheckpointEvery, opt.Keep = 60, "pool", 4, "7steps", 2
	return opt
}

// trainChild trains on the real disk and prints each event's kind and step.
func trainChild(args []string) int {
	opt := killOptions(args[0], args[1])
	opt.Resume = args[2] == "resume"
	_, err := trainOn(context.Background(), disk{}, opt, func(e Event) { fmt.Println(e.Kind, e.Step) }, nil)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

// A training process is killed, without warning, again and again at random
// moments, from its first millisecond on. Each time the same command goes on,
// and in the end the run is that of a process never interrupted, bit for bit.
func TestKilledTraining(t *testing.T) {
	t.Parallel()
	images, _ := writeImages(t, smallRows, 4)
	whole := filepath.Join(t.TempDir(), "whole")
	mustTrain(t, killOptions(images, whole))

	run := filepath.Join(t.TempDir(), "killed")
	r := rng.New(1, "test kills")
	kills, resumes := 0, 0
	for {
		finished, from := sitting(t, images, run, r, kills < 5)
		if from > 0 {
			resumes++
		}
		if finished {
			break
		}
		kills++
	}
	t.Logf("%d kills, %d sittings went on from a checkpoint", kills, resumes)
	if kills < 25 || resumes < 15 {
		t.Errorf("%d kills and %d resumes from a checkpoint: want at least 25 and 15", kills, resumes)
	}
	outcomeOf(t, run).equal(t, outcomeOf(t, whole), "killed again and again")
}

// sitting runs the child until it is done or killed: early ones within the
// first 40 milliseconds, others a random number of steps and then up to 5
// milliseconds later. It returns the step at which the child began.
func sitting(t *testing.T, images, run string, r *rand.Rand, early bool) (finished bool, from int) {
	t.Helper()
	resume := "new"
	if _, err := os.Stat(run); err == nil {
		resume = "resume"
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killRun+"="+strings.Join([]string{images, run, resume}, "\n"))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { child.Process.Kill() } // a process that is gone already is what Wait reports
	if early {
		time.AfterFunc(time.Duration(r.IntN(40_000))*time.Microsecond, kill)
	}
	steps, delay := 1+r.IntN(30), time.Duration(r.IntN(5_000))*time.Microsecond
	lines := bufio.NewScanner(out)
	var said []string
	for seen := 0; lines.Scan(); {
		said = append(said, lines.Text())
		var kind string
		var step int
		fmt.Sscan(lines.Text(), &kind, &step)
		switch kind {
		case EventStart:
			from = step
		case EventStep:
			if seen++; seen == steps && !early {
				time.AfterFunc(delay, kill)
			}
		}
	}
	io.Copy(io.Discard, out)
	err = child.Wait()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.Exited()) {
		t.Fatalf("the child ended by itself: %v\n%s", err, strings.Join(said, "\n"))
	}
	return err == nil, from
}
