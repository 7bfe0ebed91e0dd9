package nat

import (
	"bufio"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// cgroupRoot is where Linux mounts the control groups that bound a container.
const cgroupRoot = "sys/fs/cgroup"

// cgroupFiles are the files of one version of control groups: the limit, what is
// in use, and the part of it that is only a cache of files.
type cgroupFiles struct{ dir, limit, usage, inactive string }

// cgroupMemory is what the control groups of this process leave it, over all
// levels: the least of them counts. ok is false where none has a limit.
func cgroupMemory(root fs.FS) (bytes int64, ok bool) {
	f, err := root.Open("proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for _, group := range memoryGroups(f) {
		for dir := group.dir; ; dir = path.Dir(dir) {
			here := group
			here.dir = dir
			if left, limited := here.left(root); limited && (!ok || left < bytes) {
				bytes, ok = left, true
			}
			if !strings.Contains(dir, "/") || len(dir) <= len(cgroupRoot) {
				break
			}
		}
	}
	return bytes, ok
}

// memoryGroups reads /proc/self/cgroup: lines of "number:controllers:path".
func memoryGroups(r io.Reader) (groups []cgroupFiles) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		parts := strings.SplitN(lines.Text(), ":", 3)
		switch {
		case len(parts) < 3:
		case parts[0] == "0" && parts[1] == "":
			groups = append(groups, cgroupFiles{path.Join(cgroupRoot, parts[2]), "memory.max", "memory.current", "inactive_file"})
		case strings.Contains(","+parts[1]+",", ",memory,"):
			groups = append(groups, cgroupFiles{path.Join(cgroupRoot, "memory", parts[2]), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"})
		}
	}
	return groups
}

// left is what a group may still take. A limit of "max" is none, and one beyond
// all memory there could be is how the older version says so.
func (g *cgroupFiles) left(root fs.FS) (bytes int64, ok bool) {
	const unlimited = 1 << 60
	limit, ok := fileNumber(root, path.Join(g.dir, g.limit))
	if !ok || limit >= unlimited {
		return 0, false
	}
	usage, ok := fileNumber(root, path.Join(g.dir, g.usage))
	return max(0, limit-usage+g.cached(root)), ok
}

func fileNumber(root fs.FS, name string) (n int64, ok bool) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// cached is what the system would give back before it runs short.
func (g *cgroupFiles) cached(root fs.FS) int64 {
	b, err := fs.ReadFile(root, path.Join(g.dir, "memory.stat"))
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), " "); name == g.inactive {
			n, err := strconv.ParseInt(value, 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// availableMemory is what can be had without swapping and within the limits of a
// container, where the system tells.
func availableMemory() (bytes int64, ok bool) {
	root := os.DirFS("/")
	if f, err := root.Open("proc/meminfo"); err == nil { // Linux
		bytes, ok = parseMeminfo(f)
		f.Close()
	}
	if left, limited := cgroupMemory(root); limited && (!ok || left < bytes) {
		return left, true
	}
	return bytes, ok
}
