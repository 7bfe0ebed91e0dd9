//go:build !unix

package nat

import "time"

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
