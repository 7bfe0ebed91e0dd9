package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary play nat in the transcripts: they run real processes.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"nat": main})
}

// TestScript runs the transcripts in testdata/script. Besides testscript's own commands they have
//
//	gen KIND PATH ...       make data, see generate
//	exits CODE nat ...      run and require this exit code
//	json FIELD[=VALUE] ...  the last stdout is exactly one JSON object with these fields (a.0.b walks into it)
//	interrupt SIGNAL CODE FILE nat ...   start, wait until the file grows, signal, require this exit code
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"gen": scriptGenerate, "exits": scriptExits, "json": scriptJSON, "interrupt": scriptInterrupt,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func scriptGenerate(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: gen KIND PATH [N ...]")
	}
	ts.Check(generate(args[0], ts.MkAbs(args[1]), args[2:]))
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitStatus(ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	dec.UseNumber()
	var object map[string]any
	if err := dec.Decode(&object); err != nil {
		ts.Fatalf("stdout is not a JSON object: %v", err)
	}
	if dec.More() {
		ts.Fatalf("stdout has more than one JSON value")
	}
	for _, arg := range args {
		path, want, compare := strings.Cut(arg, "=")
		got, ok := lookup(object, strings.Split(path, "."))
		switch {
		case !ok:
			ts.Fatalf("no field %s in %s", path, ts.ReadFile("stdout"))
		case compare && got != want:
			ts.Fatalf("%s is %s, want %s", path, got, want)
		}
	}
}

// lookup walks into v; strings come back unquoted, everything else as JSON.
func lookup(v any, path []string) (string, bool) {
	for _, key := range path {
		switch node := v.(type) {
		case map[string]any:
			next, ok := node[key]
			if !ok {
				return "", false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(node) {
				return "", false
			}
			v = node[i]
		default:
			return "", false
		}
	}
	if s, ok := v.(string); ok {
		return s, true
	}
	b, err := json.Marshal(v)
	return string(b), err == nil
}

func scriptInterrupt(ts *testscript.TestScript, neg bool, args []string) {
	sig := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM}[args[0]]
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	program := ts.MkAbs(args[3])
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if candidate := filepath.Join(dir, args[3]); fileExists(candidate) {
			program = candidate
			break
		}
	}
	cmd := exec.Command(program, args[4:]...)
	cmd.Dir = ts.MkAbs(".")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	before := fileSize(ts.MkAbs(args[2]))
	ts.Check(cmd.Start())
	defer cmd.Process.Kill()
	waitForGrowth(ts, ts.MkAbs(args[2]), before)
	ts.Check(cmd.Process.Signal(sig))
	got := exitStatus(cmd.Wait())
	ts.Check(os.WriteFile(ts.MkAbs("interrupted.stdout"), stdout.Bytes(), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs("interrupted.stderr"), stderr.Bytes(), 0o644))
	if got != want {
		ts.Fatalf("exit code %d, want %d; stderr: %s", got, want, stderr.String())
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// fileSize is -1 for a file that is not there.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}

func waitForGrowth(ts *testscript.TestScript, path string, before int64) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if fileSize(path) > before {
			return
		}
	}
	ts.Fatalf("%s did not grow within 30 s", path)
}

// invoke runs a command line inside this process.
func invoke(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, &out, &errs, func(string) string { return "" })
	return code, out.String(), errs.String()
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	if i := slices.IndexFunc(parts, func(p string) bool { return !strings.Contains(text, p) }); i >= 0 {
		t.Errorf("%q is missing in:\n%s", parts[i], text)
	}
}
