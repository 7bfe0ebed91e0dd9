package nat

import (
	"testing"
	"testing/fstest"
)

func TestCgroupMemory(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  int64
		ok    bool
	}{
		"none":     {fstest.MapFS{}, 0, false},
		"no limit": {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("max\n")}, 0, false},
		"container": {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("1000\n"),
			"sys/fs/cgroup/memory.current": file("700\n"), "sys/fs/cgroup/memory.stat": file("anon 400\nfile 300\ninactive_file 200\n")}, 500, true},
		"a level above": {fstest.MapFS{"proc/self/cgroup": file("1:name=systemd:/x\n0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("9000\n"), "sys/fs/cgroup/a/b/memory.current": file("1\n"),
			"sys/fs/cgroup/a/memory.max": file("5000\n"), "sys/fs/cgroup/a/memory.current": file("1000\n")}, 4000, true},
		"the older kind": {fstest.MapFS{"proc/self/cgroup": file("5:cpu,memory:/job\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"), "sys/fs/cgroup/memory/memory.usage_in_bytes": file("1\n"),
			"sys/fs/cgroup/memory/job/memory.limit_in_bytes": file("800\n"), "sys/fs/cgroup/memory/job/memory.usage_in_bytes": file("900\n"),
			"sys/fs/cgroup/memory/job/memory.stat": file("inactive_file 5\ntotal_inactive_file 150\n")}, 50, true},
		"beyond its limit": {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("10\n"),
			"sys/fs/cgroup/memory.current": file("70\n")}, 0, true},
	} {
		if got, ok := cgroupMemory(c.files); got != c.want || ok != c.ok {
			t.Errorf("%s: %d, %v; want %d, %v", name, got, ok, c.want, c.ok)
		}
	}
}
