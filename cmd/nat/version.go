package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"

	"nat"
	"nat/internal/kernel"
)

// versionInfo is what `nat version --json` prints.
type versionInfo struct {
	Version  string   `json:"version"`
	Revision string   `json:"revision,omitempty"`
	Modified bool     `json:"modified"`
	Go       string   `json:"go"`
	OS       string   `json:"os"`
	Arch     string   `json:"arch"`
	CPUs     int      `json:"cpus"`
	Kernel   string   `json:"kernel"`
	Features []string `json:"cpu_features"`
}

func newVersionInfo() versionInfo {
	v := versionInfo{Version: strings.Trim(nat.Version(), "()"), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		CPUs: runtime.NumCPU(), Kernel: kernel.Tier(), Features: cpuFeatures()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// cpuFeatures lists the instruction sets that the kernels care about and this machine has.
func cpuFeatures() []string {
	found := []string{}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"avx", cpu.X86.HasAVX}, {"fma", cpu.X86.HasFMA}, {"avx2", cpu.X86.HasAVX2},
		{"avx512f", cpu.X86.HasAVX512F}, {"avx512dq", cpu.X86.HasAVX512DQ}, {"avx512vl", cpu.X86.HasAVX512VL},
		{"avx512vnni", cpu.X86.HasAVX512VNNI}, {"avx512bf16", cpu.X86.HasAVX512BF16},
		{"asimd", cpu.ARM64.HasASIMD}, {"asimddp", cpu.ARM64.HasASIMDDP}, {"sve", cpu.ARM64.HasSVE},
	} {
		if f.has {
			found = append(found, f.name)
		}
	}
	return found
}

func (v versionInfo) String() string {
	s := "nat " + v.Version
	if v.Revision != "" {
		s += " (" + v.Revision[:min(12, len(v.Revision))]
		if v.Modified {
			s += ", modified"
		}
		s += ")"
	}
	return s
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version, the Go release and what the processor offers",
		Args:  a.arguments(),
		RunE: func(cmd *cobra.Command, args []string) error {
			v := newVersionInfo()
			if a.json {
				return a.printJSON(v)
			}
			fmt.Fprintln(a.stdout, v)
			pairs(a.stdout,
				"go", v.Go+" "+v.OS+"/"+v.Arch,
				"cpus", fmt.Sprint(v.CPUs),
				"kernel", v.Kernel,
				"cpu features", strings.Join(v.Features, " "))
			return nil
		},
	}
}
