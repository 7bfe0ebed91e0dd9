//go:build !amd64 || purego

package kernel

func machineTiers() []*tier { return nil }
