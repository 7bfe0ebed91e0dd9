package dataset

import (
	"fmt"
	"strconv"
	"strings"
)

// parseMaxBad returns how many of n files may be unusable: "25" or "10%".
func parseMaxBad(s string, n int) (int, error) {
	if s == "" {
		s = "10%"
	}
	if share, ok := strings.CutSuffix(s, "%"); ok {
		p, err := strconv.ParseFloat(share, 64)
		if err != nil || !(p >= 0 && p <= 100) {
			return 0, fmt.Errorf("max bad %q is not a share from 0%% to 100%%", s)
		}
		return int(p / 100 * float64(n)), nil
	}
	k, err := strconv.Atoi(s)
	if err != nil || k < 0 {
		return 0, fmt.Errorf("max bad %q is neither a count such as 25 nor a share such as 10%%", s)
	}
	return k, nil
}

func (s *Set) readLabels(path string) error {
	return reject("%s: labels from a file are not read", path)
}
