package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// manual is the package comment.
func manual(t *testing.T) string {
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	return f.Doc.Text()
}

func testRoot() *cobra.Command {
	a := &app{stdout: io.Discard, stderr: io.Discard, env: func(string) string { return "" }}
	a.progress = a.newMeter()
	return a.rootCommand()
}

// TestManualNamesTheCommands: every command has its section, and every section and usage line is a command with those
// flags.
func TestManualNamesTheCommands(t *testing.T) {
	text := manual(t)
	root := testRoot()
	for _, cmd := range root.Commands() {
		if !strings.Contains(text, "\n# nat "+cmd.Name()+"\n") && cmd.Name() != "help" && cmd.Name() != "completion" {
			t.Errorf("the manual does not document nat %s", cmd.Name())
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^# nat (\S+)$`).FindAllStringSubmatch(text, -1) {
		if cmd, _, err := root.Find([]string{m[1]}); err != nil || cmd == root {
			t.Errorf("the manual documents nat %s, which does not exist", m[1])
		}
	}
	for _, line := range regexp.MustCompile(`(?m)^\tnat .*$`).FindAllString(text, -1) {
		if err := parses(usageWords(line)); err != nil {
			t.Errorf("%s: %v", strings.TrimSpace(line), err)
		}
	}
}

// TestLimitSaysHowRowsAreChosen: every command says the same, and that it is not the order of the files.
func TestLimitSaysHowRowsAreChosen(t *testing.T) {
	for _, name := range []string{"train", "embed", "eval"} {
		cmd, _, err := testRoot().Find([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		if usage := cmd.Flags().Lookup("limit").Usage; !strings.Contains(usage, "chosen by a hash of their identity") {
			t.Errorf("nat %s --limit: %s", name, usage)
		}
	}
}

// usageWords drops the brackets of a usage line and its placeholder [flags].
func usageWords(line string) []string {
	line = strings.ReplaceAll(strings.TrimSpace(line), "[flags]", "")
	line = strings.NewReplacer("[", "", "]", "", "--workers N", "--workers 1").Replace(line)
	return strings.Fields(line)[1:]
}

// parses checks a command line as far as it goes without running it.
func parses(args []string) error {
	root := testRoot()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if cmd == root {
		return fmt.Errorf("no such command")
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// TestREADMECommandsParse reads the command lines in the README's code blocks.
func TestREADMECommandsParse(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, line := range codeLines(string(b)) {
		line = strings.NewReplacer("$ ", "", "go run ./cmd/nat", "nat").Replace(line)
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		if !strings.HasPrefix(line, "nat ") {
			continue
		}
		found++
		if err := parses(strings.Fields(line)[1:]); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if found == 0 {
		t.Error("the README shows no command")
	}
}

// codeLines returns the lines of the fenced blocks of a Markdown text.
func codeLines(text string) (lines []string) {
	for i, block := range strings.Split(text, "```") {
		if i%2 == 1 {
			lines = append(lines, strings.Split(block, "\n")[1:]...)
		}
	}
	return lines
}
