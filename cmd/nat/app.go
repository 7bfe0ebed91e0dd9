package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// app is what the commands share: where they write, and the flags every one of them has.
type app struct {
	stdout, stderr io.Writer
	env            func(string) string
	json, quiet    bool
	progress       *meter
	warned         []string // warnings that were shown
}

// run executes one command line, prints its error if it fails, and returns the exit code. A cancelled ctx stops the
// command; when its cause is a *signalled the code is that of the signal.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, env func(string) string) (code int) {
	a := &app{stdout: stdout, stderr: stderr, env: env}
	a.progress = a.newMeter()
	defer func() {
		if p := recover(); p != nil {
			code = a.fail(internalError(p, debug.Stack(), env("NAT_DEBUG") != ""), nil)
		}
	}()
	root := a.rootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	a.progress.clear()
	if err == nil {
		return exitOK
	}
	if cause := context.Cause(ctx); cause != nil {
		err = stoppedBy(cause, err)
	}
	a.json = a.json || wantsJSON(args)
	return a.fail(err, cmd)
}

// wantsJSON looks for --json where the flags could not be parsed, so that a mistake in them is reported as JSON as well.
func wantsJSON(args []string) bool {
	end := slices.Index(args, "--")
	if end < 0 {
		end = len(args)
	}
	return slices.Contains(args[:end], "--json") || slices.Contains(args[:end], "--json=true")
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "nat",
		Short: "nat learns representations of images and vectors without labels, by predicting noise",
		Long: `nat learns representations of images and vectors without labels, by predicting noise:
every row of the data gets its own random point on a sphere, an encoder learns to send the
row there, and the pairing of rows with points is re-assigned as it learns.

First steps:
  nat quickstart                       the whole loop on built-in data, in about a minute
  nat train PHOTOS --dry-run           what would be trained, in how much memory and time
  nat train PHOTOS --out RUN           train; Ctrl-C saves, --resume continues
  nat embed RUN PHOTOS -o Z.parquet    one unit vector for each image, with its path`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		Version:       newVersionInfo().String(),
		RunE:          func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print one JSON object on stdout and nothing else")
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress, no hints: results and errors only")
	root.PersistentPreRun = func(*cobra.Command, []string) { a.progress.quiet = a.quiet }
	root.CompletionOptions.DisableDescriptions = false
	root.SetHelpCommand(a.helpCommand(root))
	root.AddCommand(a.commands()...)
	return root
}

func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.quickstartCommand(), a.trainCommand(), a.embedCommand(), a.evalCommand(), a.reportCommand(),
		a.measureCommand(), a.infomaxCommand(), a.assignCommand(), a.landscapeCommand(), a.benchCommand(), a.infoCommand(), a.verifyCommand(), a.versionCommand(),
	}
}

// helpCommand is cobra's, but a command that does not exist is an error with exit code 2.
func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "explain a command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return unknownCommand(root, rest)
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// unknownCommand is the root's check of its arguments: whatever reaches it was not a command.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := `"nat help" lists the commands`
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		hint = fmt.Sprintf("did you mean %q?", "nat "+s[0])
	}
	return usagef("unknown command %q; %s", args[0], hint)
}

// flagError turns pflag's complaint about a flag into a usage error; an unknown flag comes with the nearest known one.
func flagError(cmd *cobra.Command, err error) error {
	unknown, ok := err.(*pflag.NotExistError)
	if !ok {
		return usagef("%s; see nat help %s", flagMessage(err), strings.TrimPrefix(cmd.CommandPath(), "nat "))
	}
	if near := nearestFlag(cmd, unknown.GetSpecifiedName()); near != "" {
		return usagef("%v; did you mean --%s?", err, near)
	}
	return usagef("%v; nat help %s lists the flags", err, strings.TrimPrefix(cmd.CommandPath(), "nat "))
}

// flagMessage drops strconv's prefix, which says nothing to a user: "strconv.ParseInt: parsing "x": invalid syntax".
func flagMessage(err error) string {
	bad, ok := err.(*pflag.InvalidValueError)
	if !ok {
		return err.Error()
	}
	wanted := map[string]string{"int": "a whole number", "uint64": "a whole number, 0 or more", "float64": "a number", "intSlice": "whole numbers such as 10,100",
		"duration": "a time such as 90s, 10m or 2h", "bool": "true or false"}[bad.GetFlag().Value.Type()]
	if wanted == "" {
		return err.Error()
	}
	return fmt.Sprintf("--%s %q: wants %s", bad.GetFlag().Name, bad.GetValue(), wanted)
}

func nearestFlag(cmd *cobra.Command, name string) string {
	best, distance := "", 3
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		d := editDistance(name, f.Name)
		if strings.HasPrefix(f.Name, name) && len(name) > 2 {
			d = 1
		}
		if d < distance {
			best, distance = f.Name, d
		}
	})
	return best
}

// editDistance is Levenshtein's: insertions, deletions and substitutions that turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, row[j+1]+1, substitute)
		}
	}
	return row[len(b)]
}

// arguments checks that a command gets exactly the named arguments, and says which one is missing.
func (a *app) arguments(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef("%s is missing; usage: %s", names[len(args)], cmd.UseLine())
		case len(args) > len(names):
			return usagef("unexpected argument %q; usage: %s", args[len(names)], cmd.UseLine())
		}
		return nil
	}
}

func (a *app) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write the result as JSON: %w", err)
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", b)
	return err
}

// newMeter draws on stderr: a redrawn line if that is a capable terminal whose user did not set NO_COLOR.
func (a *app) newMeter() *meter {
	m := &meter{w: a.stderr, every: plainEvery, now: time.Now, last: time.Now(), width: func() int { return 80 }}
	f, ok := a.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || a.env("NO_COLOR") != "" || a.env("TERM") == "dumb" {
		return m
	}
	m.redraw = true
	m.width = func() int {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
		return 80
	}
	return m
}

// addWorkers adds the flag of the commands that compute.
func addWorkers(cmd *cobra.Command, workers *int) {
	cmd.Flags().IntVar(workers, "workers", 0, "goroutines that load and compute (0: one per processor)")
}
