// Package lint holds the rules of the repository that a compiler does not
// enforce, as a test: the direction of imports, documentation of every exported
// name, bounds on the length of files and functions, the list of dependencies,
// and a tree that stands alone.
//
//	go test ./internal/lint
//
// The rules in checks_test.go are functions of sources, so that
// synthetic_test.go can show each of them failing on a few lines of made-up
// code.
package lint

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// root is the repository's root, seen from this package.
const root = "../.."

// textual are the extensions of files whose text is checked.
var textual = []string{".go", ".md", ".s", ".mod", ".py", ".sh", ".txt", ".txtar", ".html", ".js", ".css", ""}

// tree is what the rules look at: parsed Go files of the module, and the text
// of everything. Nested modules (the assembly generator) are text only.
type tree struct {
	files []*source
	texts map[string]string
}

// repository reads the tree below root, once for all tests.
func repository(t *testing.T) ([]*source, map[string]string) {
	t.Helper()
	all, err := read()
	if err != nil {
		t.Fatal(err)
	}
	if len(all.files) < 20 {
		t.Fatalf("found only %d Go files", len(all.files))
	}
	return all.files, all.texts
}

var read = sync.OnceValues(func() (all tree, err error) {
	all.texts = map[string]string{}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(p, root+string(filepath.Separator)))
		if d.IsDir() {
			if name := d.Name(); p != root && (name == ".git" || name == "testdata" || name == "dist" || isRun(p)) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !slices.Contains(textual, path.Ext(rel)) || path.Base(rel) == "nat" {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		all.texts[rel] = string(b)
		if path.Ext(rel) == ".go" && !strings.Contains(rel, "/_") {
			f, err := parse(rel, string(b))
			if err != nil {
				return err
			}
			all.files = append(all.files, f)
		}
		return nil
	})
	return all, err
})

// isRun reports whether a directory holds the results of somebody's training.
func isRun(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "run.json"))
	return err == nil
}

func report(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

func TestImportsPointDown(t *testing.T) {
	files, _ := repository(t)
	report(t, importProblems(files))
}

func TestEverythingExportedIsDocumented(t *testing.T) {
	files, _ := repository(t)
	report(t, docProblems(files))
}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	files, _ := repository(t)
	report(t, lengthProblems(files))
}

func TestTreeStandsAlone(t *testing.T) {
	_, texts := repository(t)
	for name, text := range texts {
		report(t, pathProblems(name, text))
	}
}

func TestDependenciesAreDecisions(t *testing.T) {
	files, texts := repository(t)
	report(t, dependencyProblems(files, texts["go.mod"]))
}

func TestREADMEStartsWithTwoCommands(t *testing.T) {
	_, texts := repository(t)
	report(t, readmeProblems(texts["README.md"], texts[".ci/run"]))
}

// The Go code of the README is compiled, as part of the root package's example.
func TestREADMECodeCompiles(t *testing.T) {
	_, texts := repository(t)
	report(t, exampleProblems(texts["README.md"], texts["example_test.go"]))
}

func TestLinksInDocumentsResolve(t *testing.T) {
	_, texts := repository(t)
	for name, text := range texts {
		if path.Ext(name) != ".md" {
			continue
		}
		for _, target := range links(text) {
			if _, err := os.Stat(filepath.Join(root, path.Dir(name), target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, target)
			}
		}
	}
}
