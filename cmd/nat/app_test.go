package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"nat"
	"nat/dataset"
)

func TestMistakesInTheCommandLine(t *testing.T) {
	for _, c := range []struct {
		args string
		want []string
	}{
		{"trian data", []string{`unknown command "trian"`, `did you mean "nat train"?`}},
		{"nonsense", []string{`unknown command "nonsense"`, `"nat help" lists the commands`}},
		{"help nonsense", []string{`unknown command "nonsense"`}},
		{"train d --epoch 3", []string{"unknown flag: --epoch", "did you mean --epochs?"}},
		{"train d --zzzzzzz", []string{"unknown flag: --zzzzzzz", "nat help train lists the flags"}},
		{"train d --epochs many", []string{`--epochs "many": wants a whole number`}},
		{"train d --max-time 5", []string{`--max-time "5": wants a time such as 90s`}},
		{"train", []string{"DATA is missing", "usage: nat train DATA"}},
		{"train a b", []string{`unexpected argument "b"`}},
		{"train --resume", []string{"--out RUN"}},
		{"train d --seed 0", []string{"--seed 0"}},
		{"train d --max-bad 120%", []string{"--max-bad", "share from 0% to 100%"}},
		{"train d --max-bad 1e2", []string{"--max-bad", "25 nor a share such as 10%"}},
		{"embed r d -o z.npy --max-bad 1e2", []string{"--max-bad"}},
		{"train d --max-bad 1.5", []string{"--max-bad"}},
		{"train d --momentum -1", []string{"--momentum -1"}},
		{"train d --resume --out r --dry-run", []string{"nat info r"}},
		{"train d --encoder resnet --assign all --dim 1", []string{"encoder", "assign", "dim"}},
		{"embed r d", []string{"-o OUT"}},
		{"embed r d -o z.txt", []string{"z.txt", ".parquet"}},
		{"embed r d -o z.npy --split dev", []string{"train, test or all"}},
		{"embed r d -o no/such/z.npy", []string{"no/such does not exist"}},
		{"eval", []string{"RUN is missing"}},
		{"eval r --per-class -1", []string{"none below 1"}},
		{"eval r --per-class ten", []string{"whole numbers"}},
		{"eval r --per-class 10,10", []string{"each number once"}},
		{"eval r --per-class 10 --probes clusters", []string{"few labels change nothing for clusters"}},
		{"eval r --layers all,features", []string{"every layer"}},
		{"eval r --probes tree", []string{`"tree"`, "knn200"}},
		{"version extra", []string{`unexpected argument "extra"`}},
	} {
		code, stdout, stderr := invoke(t, strings.Fields(c.args)...)
		if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "nat") {
			t.Errorf("nat %s: exit code %d, stdout %q, stderr %q", c.args, code, stdout, stderr)
		}
		contains(t, stderr, c.want...)
	}
}

func TestErrorsAsJSON(t *testing.T) {
	code, stdout, stderr := invoke(t, "train", "--json", "--epoch", "3")
	var got errorJSON
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %q", err, stdout)
	}
	if got.Error.Kind != "usage" || got.Error.ExitCode != 2 || code != 2 || !strings.Contains(stderr, got.Error.Message) {
		t.Errorf("code %d, %+v, stderr %q", code, got, stderr)
	}
	if _, stdout, _ = invoke(t, "train", "--", "--json", "x"); stdout != "" {
		t.Errorf("--json after -- is an argument, not a flag: %q", stdout)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"help"}, {"-h"}} {
		code, stdout, stderr := invoke(t, args...)
		if code != 0 || stderr != "" {
			t.Errorf("nat %v: exit code %d, stderr %q", args, code, stderr)
		}
		contains(t, stdout, "quickstart", "train", "embed", "eval", "info", "verify", "version", "completion", "--json")
	}
	_, stdout, _ := invoke(t, "help", "train")
	contains(t, stdout, "--encoder", "--dry-run", "--resume", "--checkpoint-every")
	_, stdout, _ = invoke(t, "completion", "bash")
	contains(t, stdout, "__start_nat")
	_, stdout, _ = invoke(t, "__complete", "train", "--encoder", "conv")
	contains(t, stdout, "convnet")
	_, stdout, _ = invoke(t, "--version")
	contains(t, stdout, "nat ")
}

func TestVersion(t *testing.T) {
	code, stdout, _ := invoke(t, "version", "--json")
	var v versionInfo
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != 0 {
		t.Fatalf("%v, code %d: %q", err, code, stdout)
	}
	if v.Go == "" || v.OS == "" || v.Arch == "" || v.Kernel == "" || v.CPUs < 1 || v.Features == nil {
		t.Errorf("%+v", v)
	}
	_, stdout, _ = invoke(t, "version")
	contains(t, stdout, v.Version, v.Go, v.Kernel)
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{errors.New("x"), 1}, {usagef("x"), 2}, {fmt.Errorf("w: %w", nat.ErrInput), 3}, {dataset.ErrRejected, 3},
		{fmt.Errorf("w: %w", nat.ErrArtefact), 4}, {nat.ErrResource, 5}, {&os.PathError{Err: syscall.ENOSPC}, 5},
		{classify(os.ErrNotExist, nat.ErrInput), 3}, {classify(os.ErrNotExist, nat.ErrArtefact), 4},
		{trainError(&nat.StoppedError{Cause: &signalled{os.Interrupt}, Checkpoint: "c"}), 130},
		{trainError(&nat.StoppedError{Cause: &signalled{syscall.SIGTERM}}), 143},
		{stoppedBy(&signalled{os.Interrupt}, fmt.Errorf("embed: %w", context.Canceled)), 130},
		{internalError("boom", nil, false), 1},
	} {
		if got := classOf(c.err).code; got != c.code {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.code)
		}
	}
}

// TestStoppedBeforeACheckpoint: nothing is promised that is not there.
func TestStoppedBeforeACheckpoint(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(&signalled{os.Interrupt})
	var stdout, stderr strings.Builder
	dir := t.TempDir()
	code := run(ctx, []string{"train", "digits:", "--out", dir + "/run", "--json"}, &stdout, &stderr, func(string) string { return "" })
	if code != 130 {
		t.Errorf("exit code %d", code)
	}
	contains(t, stderr.String(), "stopped by an interrupt (SIGINT)")
	if _, err := os.Stat(dir + "/run/latest"); err == nil {
		contains(t, stderr.String(), "--resume")
	} else if strings.Contains(stderr.String(), "--resume") {
		t.Errorf("there is nothing to resume: %s", stderr.String())
	}
}

func TestPanicsDoNotReachTheUser(t *testing.T) {
	for _, debug := range []string{"", "1"} {
		var stderr strings.Builder
		env := func(name string) string { return map[string]string{"NAT_DEBUG": debug}[name] }
		code := run(context.Background(), []string{"version"}, panicWriter{}, &stderr, env)
		if code != exitFailure {
			t.Errorf("exit code %d", code)
		}
		contains(t, stderr.String(), "internal error: out of paper", "bug in nat")
		if strings.Contains(stderr.String(), "goroutine ") != (debug == "1") {
			t.Errorf("NAT_DEBUG=%q: %s", debug, stderr.String())
		}
	}
}

type panicWriter struct{ io.Writer }

func (panicWriter) Write([]byte) (int, error) { panic("out of paper") }

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"run": "run", "my run": "'my run'", "it's": `'it'\''s'`, "": "''", "a;b": "'a;b'", "/a/b-1_2.png": "/a/b-1_2.png", "ä": "'ä'"} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestVerdictReadsTheTable(t *testing.T) {
	acc := func(f float64) *float64 { return &f }
	table := func(run, raw float64) *nat.EvalResult {
		return &nat.EvalResult{Few: []nat.FewLabels{{PerClass: 10, Rows: []nat.EvalRow{
			{Name: "run", Layer: "embedding", KNN: acc(run - .1), Linear: acc(run)}, {Name: "raw", Layer: "input", KNN: acc(raw)},
			{Name: "pca", Layer: "input", KNN: acc(raw - .1)}}}}}
	}
	for _, c := range []struct {
		run, raw float64
		want     string
	}{{.9, .8, "ahead of"}, {.8, .9, "behind"}, {.801, .8, "level with"}} {
		got := verdict(table(c.run, c.raw))
		contains(t, got, c.want, "10 labels a class", "linear of embedding", "knn of raw pixels")
	}
	if got := verdict(&nat.EvalResult{}); got != "" {
		t.Errorf("no rows, no verdict: %q", got)
	}
}

func TestEveryCommandHasShortHelp(t *testing.T) {
	for _, c := range append(testRoot().Commands(), testRoot()) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
	}
}
