//go:build unix

package dataset

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func link(t *testing.T, target string, path ...string) {
	t.Helper()
	full := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, full); err != nil {
		t.Fatal(err)
	}
}

// A tree with everything that is not a plain file, and odd names. Nothing may
// hang, nothing may be listed twice.
func TestStrangeTree(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "tree")
	img := solid(t, 4, 4, red)
	odd := []string{
		"new\nline.png", "\xff\xfe not UTF-8.png", "-rf.png", "é composed.png", "é decomposed.png", strings.Repeat("x", 251) + ".png",
		"quote\"'`$(ls).png", "class/inside.png",
	}
	for _, name := range odd {
		write(t, img, dir, name)
	}
	write(t, img, dir, ".store", "object")
	write(t, img, dir, ".store", "folder", "inside.png")
	write(t, img, base, "outside", "secret.png")
	link(t, "..", dir, "class", "loop")                 // to an ancestor
	link(t, "self.png", dir, "self.png")                // to itself
	link(t, "../outside", dir, "leaves")                // a folder out of the tree
	link(t, "../outside/secret.png", dir, "leaves.png") // a file out of the tree
	link(t, "gone.png", dir, "broken.png")              // to nothing
	link(t, "class/inside.png", dir, "again.png")       // to what is listed anyway
	link(t, ".store/object", dir, "stored.png")         // into a hidden store, as git-annex does
	link(t, "../.store/object", dir, "z", "twice.png")  // and a second link to it
	link(t, ".store/folder", dir, "via")                // to a hidden folder
	link(t, "../.store/folder", dir, "z", "via again")  // twice
	link(t, "/dev/zero", dir, "zero.png")               // a device
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.png"), 0o644); err != nil {
		t.Fatal(err)
	}
	short, err := os.MkdirTemp("", "s") // socket paths must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	if l, err := net.Listen("unix", filepath.Join(short, "s")); err == nil {
		defer l.Close()
		os.Rename(filepath.Join(short, "s"), filepath.Join(dir, "socket.png"))
	}
	done := make(chan *Set)
	go func() {
		s, err := Open(context.Background(), dir, Options{MaxBad: "100%"})
		if err != nil {
			t.Error(err)
		}
		done <- s
	}()
	var s *Set
	select {
	case s = <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("open hangs")
	}
	if s == nil {
		return
	}
	want := append(slices.Clone(odd), "leaves.png", "stored.png", "via/inside.png")
	slices.Sort(want)
	if got := ids(s); !slices.Equal(got, want) {
		t.Errorf("listed\n%q, want\n%q", got, want)
	}
	var bad []string
	for _, b := range s.Bad() {
		bad = append(bad, b.Path)
	}
	if want := []string{"broken.png", "leaves", "self.png", "zero.png"}; !slices.Equal(bad, want) {
		t.Errorf("bad %q, want %q", s.Bad(), want)
	}
}

func TestRootMayBeALink(t *testing.T) {
	base := t.TempDir()
	write(t, solid(t, 4, 4, red), base, "real", "a.png")
	link(t, "real", base, "alias")
	s := mustOpen(t, filepath.Join(base, "alias"), Options{})
	if got := ids(s); !slices.Equal(got, []string{"a.png"}) {
		t.Errorf("listed %q", got)
	}
}

// Unreadable folders are recorded and passed over. As root, who can read
// everything, only the missing one shows it.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/1.png", "b/2.png", "c/3.png"} {
		write(t, solid(t, 4, 4, red), dir, name)
	}
	l := &lister{ctx: context.Background(), root: dir, bases: []string{"a", "missing", "c"}}
	if err := l.list(); err != nil {
		t.Fatal(err)
	}
	if l.len() != 2 || len(l.bad) != 1 || l.bad[0].Path != "missing" || !strings.Contains(l.bad[0].Reason, "unreadable folder") {
		t.Errorf("%d files, bad %v", l.len(), l.bad)
	}
	if os.Getuid() == 0 {
		return
	}
	os.Chmod(filepath.Join(dir, "a"), 0)
	os.Chmod(filepath.Join(dir, "b", "2.png"), 0)
	defer os.Chmod(filepath.Join(dir, "a"), 0o755)
	s := mustOpen(t, dir, Options{MaxBad: "2"})
	if s.Len() != 1 || len(s.Bad()) != 2 {
		t.Errorf("%d rows, bad %v", s.Len(), s.Bad())
	}
}
