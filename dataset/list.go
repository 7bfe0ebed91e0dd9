package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// imageExtensions are the names taken for images, in lower case. What a file
// really is, is decided by its content.
var imageExtensions = map[string]bool{
	".png": true, ".jpg": true, ".jpeg": true, ".gif": true, ".bmp": true, ".tif": true, ".tiff": true, ".webp": true,
}

// listing is the sorted list of the files of a tree: relative paths one after
// the other in one arena. A path costs its own length and 8 bytes.
type listing struct {
	arena []byte
	ends  []int64
}

func (l *listing) len() int { return len(l.ends) }

// path returns path i; the caller must not change it.
func (l *listing) path(i int) []byte {
	from := int64(0)
	if i > 0 {
		from = l.ends[i-1]
	}
	return l.arena[from:l.ends[i]]
}

// add appends dir/name.
func (l *listing) add(dir, name string) {
	l.arena = growth(l.arena, len(dir)+len(name))
	l.ends = growth(l.ends, 1)
	l.arena = append(append(l.arena, dir...), name...)
	l.ends = append(l.ends, int64(len(l.arena)))
}

// growth makes room for n more elements, growing by a quarter where append
// would double.
func growth[T any](s []T, n int) []T {
	if len(s)+n <= cap(s) {
		return s
	}
	return append(make([]T, 0, max(len(s)+n, len(s)+len(s)/4, 1024)), s...)
}

// keep drops the paths for which ok is false.
func (l *listing) keep(ok func(i int) bool) {
	n, at, from := 0, int64(0), int64(0)
	for i, end := range l.ends {
		if ok(i) {
			at += int64(copy(l.arena[at:], l.arena[from:end]))
			l.ends[n] = at
			n++
		}
		from = end
	}
	l.arena, l.ends = l.arena[:at], l.ends[:n]
}

// lister walks a tree. Only regular files are listed; files and folders whose
// name begins with a dot are skipped.
type lister struct {
	ctx   context.Context
	root  string   // without symbolic links
	bases []string // relative to root: the folders that are walked, "" for all
	listing
	bad      []BadFile
	ignored  int
	kinds    map[string]int      // extension of ignored files -> count, for the message if nothing is found
	followed map[string]struct{} // targets of links to folders
	targets  map[uint64]struct{} // hashes of the targets of links to files
}

// list walks the base folders in order.
func (l *lister) list() error {
	l.kinds, l.followed, l.targets = map[string]int{}, map[string]struct{}{}, map[uint64]struct{}{}
	for _, base := range l.bases {
		dir := ""
		if base != "" {
			dir = base + "/"
		}
		if err := l.walk(dir, dir == ""); err != nil {
			return err
		}
	}
	return nil
}

// entry is one name in a folder: a slice of an arena of names.
type entry struct {
	start, end uint32
	mode       fs.FileMode
}

// walk lists the folder dir ("" or ending in a slash, relative to root) in byte
// order of the paths, which puts "a.png" before the contents of "a". An
// unreadable folder is recorded and passed over, unless it must be readable.
func (l *lister) walk(dir string, must bool) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	names, entries, err := l.readDir(dir)
	if err != nil {
		if must {
			return fmt.Errorf("data: %w", err)
		}
		l.bad = append(l.bad, BadFile{strings.TrimSuffix(dir, "/"), "unreadable folder: " + reason(err)})
	}
	for _, e := range entries {
		name := string(names[e.start:e.end])
		switch e.mode.Type() {
		case fs.ModeDir:
			err = l.walk(dir+name, false) // name ends in a slash
		case fs.ModeSymlink:
			err = l.link(dir, strings.TrimSuffix(name, "/"))
		case 0:
			err = nil
			l.file(dir, name)
		default: // pipes, sockets, devices: opening one could block for ever
			err = nil
			l.ignored++
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readDir returns the visible entries of a folder, folders with a slash, sorted.
// The folder is read in portions and closed before anything below it is opened.
func (l *lister) readDir(dir string) (names []byte, entries []entry, err error) {
	f, err := os.Open(filepath.Join(l.root, filepath.FromSlash(dir)))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	for {
		batch, err := f.ReadDir(1024)
		for _, e := range batch {
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			start := uint32(len(names))
			names = append(names, e.Name()...)
			if e.IsDir() {
				names = append(names, '/')
			}
			entries = append(entries, entry{start, uint32(len(names)), e.Type()})
		}
		if err != nil || len(batch) == 0 {
			slices.SortFunc(entries, func(a, b entry) int {
				return strings.Compare(string(names[a.start:a.end]), string(names[b.start:b.end]))
			})
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return names, entries, err
		}
	}
}

// file lists a regular file, or counts it as ignored.
func (l *lister) file(dir, name string) {
	ext := strings.ToLower(filepath.Ext(name))
	if imageExtensions[ext] {
		l.add(dir, name)
		return
	}
	l.ignored++
	if len(l.kinds) < 100 || l.kinds[ext] > 0 {
		l.kinds[ext]++
	}
}

// link deals with a symbolic link. What it points to is taken once: not if it is
// listed under its own path anyway, and not twice through two links; folders
// outside of the tree are not entered. So loops end, and a folder of links to
// images elsewhere, the usual way to choose some of them, can be read.
func (l *lister) link(dir, name string) error {
	full := filepath.Join(l.root, filepath.FromSlash(dir), name)
	named := imageExtensions[strings.ToLower(filepath.Ext(name))]
	note := func(expected bool, why string) error {
		if expected {
			l.bad = append(l.bad, BadFile{dir + name, why})
		} else {
			l.ignored++
		}
		return nil
	}
	target, err := filepath.EvalSymlinks(full)
	if err != nil {
		return note(named, "broken link: "+reason(err))
	}
	info, err := os.Stat(target)
	if err != nil {
		return note(named, "broken link: "+reason(err))
	}
	rel, err := filepath.Rel(l.root, target)
	outside := err != nil || !filepath.IsLocal(rel)
	switch {
	case outside && !info.Mode().IsRegular():
		return note(named || info.IsDir(), "link to a folder or device outside, not followed: link its files, or give that folder")
	case !outside && l.walked(filepath.ToSlash(rel)):
		return nil
	case info.IsDir():
		if _, ok := l.followed[target]; ok {
			return nil
		}
		l.followed[target] = struct{}{}
		return l.walk(dir+name+"/", false)
	case info.Mode().IsRegular():
		h := rowHash("link", []byte(target))
		if _, ok := l.targets[h]; !ok {
			l.targets[h] = struct{}{}
			l.file(dir, name)
		}
	}
	return nil
}

// walked reports whether a path is reached without links.
func (l *lister) walked(rel string) bool {
	for _, part := range strings.Split(rel, "/") {
		if strings.HasPrefix(part, ".") && part != "." {
			return false
		}
	}
	return slices.ContainsFunc(l.bases, func(base string) bool {
		return base == "" || rel == base || strings.HasPrefix(rel, base+"/")
	})
}

// reason is the message of an error without the path, which is known.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// nothingFound explains a tree without images.
func (l *lister) nothingFound() error {
	type count struct {
		ext string
		n   int
	}
	var counts []count
	arrays := 0
	for ext, n := range l.kinds {
		if ext == ".npy" || ext == ".npz" {
			arrays += n
		}
		if ext == "" {
			ext = "without extension"
		}
		counts = append(counts, count{ext, n})
	}
	slices.SortFunc(counts, func(a, b count) int {
		if a.n != b.n {
			return b.n - a.n
		}
		return strings.Compare(a.ext, b.ext)
	})
	other := ""
	for _, c := range counts[:min(len(counts), 4)] {
		other += fmt.Sprintf(", %d %s", c.n, c.ext)
	}
	if other != "" {
		other = " (other files: " + other[2:] + ")"
	}
	next := "PNG, JPEG, GIF, BMP, TIFF and WebP are read"
	switch {
	case arrays > 0:
		next = "give an array file itself, not its folder"
	case len(l.bad) > 0:
		next = fmt.Sprintf("%d paths could not be followed, for instance %s: %s", len(l.bad), l.bad[0].Path, l.bad[0].Reason)
	}
	return reject("%s: 0 images found%s: %s", l.root, other, next)
}
