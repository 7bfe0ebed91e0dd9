package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// source is one parsed Go file; path is relative to the root, with slashes.
type source struct {
	path string
	text string
	tree *ast.File
	fset *token.FileSet
}

func parse(name, text string) (*source, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	return &source{name, text, tree, fset}, err
}

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }
func (s *source) dir() string  { return path.Dir(s.path) }
func (s *source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(n.Pos()).Line)
}

func (s *source) imports() []string {
	var out []string
	for _, spec := range s.tree.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		out = append(out, p)
	}
	return out
}

// module is the module's path and the name of its root package.
const module = "nat"

// level is each package's height; a package imports only what is lower, its
// tests also what is level. docs/architecture.md says why each stands there.
var level = map[string]int{
	"internal/rng": 0, "internal/kernel": 0, "internal/tensorfile": 0,
	"assign": 1,
	"sphere": 2, "index": 2, "encoder": 2, "dataset": 2,
	"infomax": 3, "probe": 3,
	"objective": 4,
	".":         5, "internal/bench": 5,
	"cmd/nat":       6,
	"internal/lint": 0,
}

// pure packages know nothing of ours but what is listed: they can be used, and
// judged, alone.
var pure = map[string][]string{
	"assign":       {"internal/kernel"},
	"internal/rng": {}, "internal/kernel": {}, "internal/tensorfile": {},
}

func importProblems(files []*source) (problems []string) {
	for _, f := range files {
		own, known := level[f.dir()]
		if !known {
			problems = append(problems, fmt.Sprintf("%s: package %s has no place in the order of imports", f.path, f.dir()))
			continue
		}
		for _, p := range f.imports() {
			target, ours := strings.CutPrefix(p+"/", module+"/")
			if !ours {
				continue
			}
			target = path.Clean(target)
			there, known := level[target]
			allowed, isPure := pure[f.dir()]
			switch {
			case target == f.dir() && f.isTest(): // an external test of its own package
			case !known || there > own || there == own && !f.isTest():
				problems = append(problems, fmt.Sprintf("%s imports %s, which is not below it", f.path, target))
			case isPure && !f.isTest() && !slices.Contains(allowed, target):
				problems = append(problems, fmt.Sprintf("%s imports %s; of ours, %s may import only %v", f.path, target, f.dir(), allowed))
			}
		}
	}
	return problems
}

// docProblems demands a package comment in each package, above its package
// clause, and a comment on every exported name outside tests.
func docProblems(files []*source) (problems []string) {
	documented := map[string]bool{}
	for _, f := range files {
		if f.tree.Doc != nil {
			documented[f.dir()] = true
		} else {
			documented[f.dir()] = documented[f.dir()] // remember that the package exists
		}
		if f.isTest() {
			continue
		}
		for _, d := range f.tree.Decls {
			for _, name := range undocumented(d) {
				problems = append(problems, fmt.Sprintf("%s: exported %s has no comment", f.at(name), name.Name))
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(documented)) {
		if !documented[dir] {
			problems = append(problems, fmt.Sprintf("%s: no package comment above a package clause", dir))
		}
	}
	return problems
}

// undocumented returns the exported names of a declaration without a comment.
// In a group, the group's comment speaks for values but not for types.
func undocumented(d ast.Decl) (names []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		isError := d.Recv != nil && (d.Name.Name == "Error" || d.Name.Name == "Unwrap") // the interface says it all
		if d.Doc == nil && d.Name.IsExported() && receiverExported(d) && !isError {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc == nil && s.Comment == nil && (d.Doc == nil || d.Lparen.IsValid()) {
					names = append(names, s.Name)
				}
			case *ast.ValueSpec:
				if d.Doc == nil && s.Doc == nil && s.Comment == nil {
					names = append(names, slices.DeleteFunc(slices.Clone(s.Names), func(n *ast.Ident) bool { return !n.IsExported() })...)
				}
			}
		}
	}
	return names
}

func receiverExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	exported := false
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && !exported {
			exported = id.IsExported()
			return false
		}
		return true
	})
	return exported
}

const (
	maxFileLines     = 1000
	maxFunctionLines = 90
)

func lengthProblems(files []*source) (problems []string) {
	for _, f := range files {
		if ast.IsGenerated(f.tree) {
			continue
		}
		if n := strings.Count(f.text, "\n"); n > maxFileLines {
			problems = append(problems, fmt.Sprintf("%s has %d lines, more than %d", f.path, n, maxFileLines))
		}
		if f.isTest() {
			continue
		}
		for _, d := range f.tree.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1; n > maxFunctionLines {
				problems = append(problems, fmt.Sprintf("%s: %s has %d lines, more than %d", f.at(fn), fn.Name.Name, n, maxFunctionLines))
			}
		}
	}
	return problems
}

var (
	// A directory that exists on one machine only.
	machinePath = regexp.MustCompile(`(?:^|[^\w./])/(?:work|root|home|Users|mnt)/\w`)
	// A relative path with the number of levels it climbs.
	climbing = regexp.MustCompile(`(?:\.\./)+[\w.]+`)
)

// pathProblems finds paths that lead out of the repository: absolute ones of a
// particular machine, and relative ones that climb above the root. A traversal
// into /etc is what tests try on parsers, and leads nowhere.
func pathProblems(name, text string) (problems []string) {
	if m := machinePath.FindString(text); m != "" {
		problems = append(problems, fmt.Sprintf("%s names a path of some machine: %q", name, m))
	}
	depth := strings.Count(name, "/")
	for _, m := range climbing.FindAllString(text, -1) {
		if strings.Count(m, "../") > depth && !strings.HasSuffix(m, "../etc") {
			problems = append(problems, fmt.Sprintf("%s names a path outside the repository: %q", name, m))
		}
	}
	return problems
}

// dependency is a module we decided to rely on.
type dependency struct {
	path     string
	why      string
	testOnly bool
}

var dependencies = []dependency{
	{"github.com/spf13/cobra", "subcommands, flags, help and shell completion", false},
	{"github.com/spf13/pflag", "the flag type of cobra", false},
	{"gonum.org/v1/gonum", "L-BFGS and symmetric eigenvalues; float64, well tested", false},
	{"golang.org/x/image", "BMP, TIFF and WebP decoders, maintained by the Go team", false},
	{"golang.org/x/sys", "CPU features, file system and memory queries", false},
	{"golang.org/x/term", "whether standard error is a terminal, and its width", false},
	{"github.com/parquet-go/parquet-go", "Parquet output for embeddings", false},
	{"github.com/klauspost/compress", "gzip that inflates faster than the standard library's", false},
	{"github.com/gofrs/flock", "one process per run directory, on every system", false},
	{"github.com/google/go-cmp", "readable differences in tests", true},
	{"pgregory.net/rapid", "property tests with shrinking", true},
	{"github.com/rogpeppe/go-internal", "command-line transcripts (testscript)", true},
}

// dependencyProblems compares the modules the code imports, those go.mod calls
// direct, and the list above.
func dependencyProblems(files []*source, gomod string) (problems []string) {
	used := map[string]bool{}
	for _, f := range files {
		for _, p := range f.imports() {
			first, _, _ := strings.Cut(p, "/")
			if !strings.Contains(first, ".") { // the standard library, or ours
				continue
			}
			i := slices.IndexFunc(dependencies, func(d dependency) bool { return p == d.path || strings.HasPrefix(p, d.path+"/") })
			switch {
			case i < 0:
				problems = append(problems, fmt.Sprintf("%s imports %s, which is on no list of decided dependencies", f.path, p))
				continue
			case dependencies[i].testOnly && !f.isTest():
				problems = append(problems, fmt.Sprintf("%s imports %s, which is for tests only", f.path, p))
			}
			used[dependencies[i].path] = true
		}
	}
	for _, d := range dependencies {
		if !used[d.path] {
			problems = append(problems, fmt.Sprintf("dependency %s (%s) is not imported by anything", d.path, d.why))
		}
	}
	for _, m := range direct(gomod) {
		if !slices.ContainsFunc(dependencies, func(d dependency) bool { return d.path == m }) {
			problems = append(problems, fmt.Sprintf("go.mod requires %s directly, which is on no list of decided dependencies", m))
		}
	}
	return problems
}

// direct returns the modules that go.mod requires without calling them indirect.
func direct(gomod string) (modules []string) {
	inBlock := false
	for line := range strings.Lines(gomod) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "require" && fields[1] == "(":
			inBlock = true
			continue
		case len(fields) > 0 && fields[0] == ")":
			inBlock = false
			continue
		case len(fields) > 2 && fields[0] == "require":
			fields = fields[1:]
		case !inBlock:
			continue
		}
		if len(fields) >= 2 && !strings.HasSuffix(strings.TrimSpace(line), "// indirect") {
			modules = append(modules, fields[0])
		}
	}
	return modules
}

// The two commands a newcomer needs, and nothing else before the first heading
// below the title.
var firstCommands = []string{"go run ./cmd/nat quickstart", "go test ./..."}

func readmeProblems(readme, ci string) (problems []string) {
	intro, _, _ := strings.Cut(readme, "\n## ")
	var commands []string
	for _, block := range blocks(intro, "sh") {
		for line := range strings.Lines(block) {
			command, _, _ := strings.Cut(line, "#")
			if command = strings.TrimSpace(command); command != "" {
				commands = append(commands, command)
			}
		}
	}
	if !slices.Equal(commands, firstCommands) {
		problems = append(problems, fmt.Sprintf("README.md starts with the commands %q, want %q", commands, firstCommands))
	}
	if n := strings.Count(intro, "\n"); n > 45 {
		problems = append(problems, fmt.Sprintf("README.md's first screen has %d lines", n))
	}
	if !slices.Contains(strings.Split(ci, "\n"), firstCommands[1]) {
		problems = append(problems, fmt.Sprintf(".ci/run does not run the line %q of the README", firstCommands[1]))
	}
	return problems
}

// blocks returns the fenced code blocks of a language.
func blocks(markdown, language string) (bodies []string) {
	for i, block := range strings.Split(markdown, "```") {
		if lang, body, _ := strings.Cut(block, "\n"); i%2 == 1 && lang == language {
			bodies = append(bodies, body)
		}
	}
	return bodies
}

// exampleProblems demands that each Go block of a document stands, but for
// indentation, in a file that is compiled.
func exampleProblems(markdown, compiled string) (problems []string) {
	flat := func(s string) string {
		var lines []string
		for line := range strings.Lines(s) {
			lines = append(lines, strings.TrimSpace(line))
		}
		return strings.Join(lines, "\n")
	}
	for _, block := range blocks(markdown, "go") {
		if !strings.Contains(flat(compiled), flat(block)) {
			problems = append(problems, fmt.Sprintf("the Go block that starts with %.40q is not in the compiled example", block))
		}
	}
	return problems
}

var markdownLink = regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)

// links returns the relative targets of a Markdown document's links.
func links(text string) (targets []string) {
	for _, m := range markdownLink.FindAllStringSubmatch(text, -1) {
		targets = append(targets, m[1])
	}
	return targets
}
