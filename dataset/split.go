package dataset

import (
	"hash/fnv"
	"slices"
)

// rowHash maps an identity to 64 well-mixed bits. Each purpose has its own salt,
// so that for instance the rows a limit leaves and the rows held out are chosen
// independently of one another.
func rowHash(salt string, id []byte) uint64 {
	h := fnv.New64a()
	h.Write([]byte(salt))
	h.Write([]byte{0})
	h.Write(id)
	x := h.Sum64() // FNV's high bits are weak for short strings: finish as MurmurHash3 does
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// smallestHashes returns, in increasing order, the k of n rows whose identities
// have the smallest hashes; equal hashes go to the lower row. Rows that are
// added or removed elsewhere change the choice by at most as many rows.
//
// Three passes over the identities take 256 KiB whatever n is: count by the top
// 16 bits, find the k-th hash within its bucket, collect.
func smallestHashes(n, k int, salt string, appendID func([]byte, int) []byte) []int32 {
	if k <= 0 {
		return []int32{}
	}
	var buf []byte
	hash := func(i int) uint64 {
		buf = appendID(buf[:0], i)
		return rowHash(salt, buf)
	}
	counts := make([]int32, 1<<16)
	for i := range n {
		counts[hash(i)>>48]++
	}
	bucket, below := 0, 0
	for below+int(counts[bucket]) < k {
		below += int(counts[bucket])
		bucket++
	}
	var inside []uint64
	for i := range n {
		if h := hash(i); int(h>>48) == bucket {
			inside = append(inside, h)
		}
	}
	slices.Sort(inside)
	limit := inside[k-below-1]
	at, _ := slices.BinarySearch(inside, limit)
	ties := k - below - at // rows with exactly the limit that still belong
	out := make([]int32, 0, k)
	for i := range n {
		switch h := hash(i); {
		case h < limit:
			out = append(out, int32(i))
		case h == limit && ties > 0:
			ties--
			out = append(out, int32(i))
		}
	}
	return out
}

// divide splits the rows into the k chosen by salt and the others, both in
// increasing order.
func (s *Set) divide(k int, salt string) (rest, chosen []int) {
	n := s.Len()
	pick := smallestHashes(n, k, salt, s.appendID)
	rest, chosen = make([]int, 0, n-k), make([]int, 0, k)
	for i := range n {
		if len(pick) > 0 && int(pick[0]) == i {
			chosen, pick = append(chosen, i), pick[1:]
			continue
		}
		rest = append(rest, i)
	}
	return rest, chosen
}

// HoldOut divides the rows into those to train on and min(2048, 5 %) that are
// held out for the gauges, chosen by a hash of their identity: the choice does
// not depend on seeds, and hardly on the other rows. Fewer than 20 rows hold
// out none.
func (s *Set) HoldOut() (train, held []int) {
	return s.divide(min(2048, s.Len()/20), "hold out")
}

// Sample returns k of the given rows, all if there are no more, in their order: those that
// [Options.Limit] would have left of them, chosen by a hash of their identity.
func (s *Set) Sample(rows []int, k int) []int {
	if k >= len(rows) {
		return rows
	}
	pick := smallestHashes(len(rows), k, "limit", func(b []byte, i int) []byte { return s.appendID(b, rows[i]) })
	out := make([]int, len(pick))
	for i, p := range pick {
		out[i] = rows[p]
	}
	return out
}

// SplitTest divides the rows of a set that has no test split 80/20 by a hash of
// their identity.
func (s *Set) SplitTest() (train, test []int) {
	return s.divide((s.Len()+4)/5, "test")
}
