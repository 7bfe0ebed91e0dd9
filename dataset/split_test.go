package dataset

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func number(b []byte, i int) []byte { return strconv.AppendInt(b, int64(i), 10) }

// The choice is that of sorting all rows by hash, then row.
func TestSmallestHashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		k := rapid.IntRange(0, n).Draw(t, "k")
		same := rapid.IntRange(1, 20).Draw(t, "same") // identities that repeat
		id := func(b []byte, i int) []byte { return number(b, i/same) }
		rows := make([]int32, n)
		for i := range rows {
			rows[i] = int32(i)
		}
		slices.SortStableFunc(rows, func(a, b int32) int {
			ha, hb := rowHash("s", id(nil, int(a))), rowHash("s", id(nil, int(b)))
			if ha < hb {
				return -1
			} else if ha > hb {
				return 1
			}
			return 0
		})
		want := rows[:k]
		slices.Sort(want)
		if got := smallestHashes(n, k, "s", id); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestHoldOutAndSplit(t *testing.T) {
	s := Digits("train")
	train, held := s.HoldOut()
	if len(held) != 3823/20 || len(train)+len(held) != 3823 {
		t.Errorf("%d held out, %d left", len(held), len(train))
	}
	all := append(slices.Clone(train), held...)
	slices.Sort(all)
	for i, v := range all {
		if i != v {
			t.Fatal("the parts are not a partition")
		}
	}
	rest, test := s.SplitTest()
	if len(test) != 765 || len(rest) != 3058 {
		t.Errorf("%d test rows, %d others", len(test), len(rest))
	}
	both := 0
	for _, i := range held {
		if slices.Contains(test, i) {
			both++
		}
	}
	if share := float64(both) / float64(len(held)); share < .1 || share > .3 {
		t.Errorf("%.2f of the held out rows are test rows: the two choices are not independent", share)
	}
	again, _ := Digits("train").HoldOut()
	if !slices.Equal(again, train) {
		t.Error("the choice is not stable")
	}
	// The choice is spread over the set.
	low := 0
	for _, i := range held {
		if i < 3823/2 {
			low++
		}
	}
	if low < len(held)/3 || low > len(held)*2/3 {
		t.Errorf("%d of %d held out rows are in the first half", low, len(held))
	}
}

// Rows that are added move at most as many others.
func TestHoldOutIsStable(t *testing.T) {
	a, b := smallestHashes(1000, 50, "hold out", number), smallestHashes(1010, 50, "hold out", number)
	gone := 0
	for _, i := range a {
		if !slices.Contains(b, i) {
			gone++
		}
	}
	if gone > 10 {
		t.Errorf("ten more rows changed %d of 50", gone)
	}
}

// Identities, and with them what is held out, are fixed for ever: a resumed or
// verified run depends on it.
func TestHashesAreFixed(t *testing.T) {
	if got := fmt.Sprintf("%x", rowHash("hold out", []byte("train/0"))); got != "a1ddbd6b92f79fb3" {
		t.Errorf("hash %s", got)
	}
}

// Sample leaves of all rows those that Options.Limit leaves, and keeps the order of any.
func TestSampleIsThatOfTheLimit(t *testing.T) {
	const n = 50
	path := write(t, npyBytes(t, []int{n, 2}, ramp(2*n)), t.TempDir(), "x.npy")
	whole, some := mustOpen(t, path, Options{}), mustOpen(t, path, Options{Limit: 12})
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	picked := whole.Sample(all, 12)
	if len(picked) != 12 || some.Len() != 12 {
		t.Fatalf("%d rows sampled, %d left by the limit", len(picked), some.Len())
	}
	for i, row := range picked {
		if whole.ID(row) != some.ID(i) {
			t.Errorf("row %d: %s, by the limit %s", i, whole.ID(row), some.ID(i))
		}
	}
	if got := whole.Sample(all[:3], 5); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("5 of 3 rows: %v", got)
	}
}
