package nat

import (
	"context"
	"fmt"
	"slices"

	"nat/dataset"
	"nat/encoder"
	"nat/index"
	"nat/internal/rng"
)

// ReportNearest shows rows beside those that are nearest to them.
type ReportNearest struct {
	Note    string   // which rows were asked, and among which was searched
	Classes []string // names by class; may be empty
	Groups  []ReportNeighbours
}

// ReportNeighbours is a row with the rows nearest to it, best first: by the cosine
// of their embeddings, and by that of the inputs as the network takes them.
type ReportNeighbours struct {
	Query ReportItem
	Found []ReportItem
	Raw   []ReportItem
}

// asking is which rows of a report ask for their neighbours, and among which.
type asking struct {
	set      *dataset.Set // of the queries
	queries  []int
	searched []int // of the set that the report is about, without the queries
	words    string
}

// ask chooses rows that training has not seen, where there are enough: of the test
// split, or of those held out. own tells that set is what the run was trained on, with
// its own rows held out.
func ask(set, test *dataset.Set, own bool, seed uint64) asking {
	a := asking{set: set, words: "drawn at random"}
	all := upTo(set.Len())
	if test != nil {
		a.set, a.searched, a.words = test, all, "drawn from the test split"
		a.queries = drawRows(test, upTo(test.Len()), seed)
		return a
	}
	if train, held := set.HoldOut(); own && len(held) >= reportQueries {
		a.queries, a.searched, a.words = drawRows(set, held, seed), train, "drawn from those held out of training"
		return a
	}
	a.queries = drawRows(set, all, seed)
	a.searched = slices.DeleteFunc(all, func(i int) bool { return slices.Contains(a.queries, i) })
	return a
}

// drawRows takes reportQueries of rows, in an order of the stream rng.Sample, as evenly from
// their classes as can be; rows without a label only where there is no other. They come
// ordered by class.
func drawRows(set *dataset.Set, rows []int, seed uint64) []int {
	order := rng.New(seed, rng.Sample).Perm(len(rows))
	taken := map[int]int{} // by class
	var out []int
	for _, labelled := range []bool{true, false} {
		for round, before := 0, -1; len(out) < reportQueries && len(out) > before; round++ {
			before = len(out)
			for _, k := range order {
				class := set.Label(rows[k])
				if len(out) < reportQueries && (class >= 0) == labelled && taken[class] == round && !slices.Contains(out, rows[k]) {
					taken[class]++
					out = append(out, rows[k])
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b int) int { return set.Label(a) - set.Label(b) })
	return out
}

// What a report searches costs a few seconds at most: so many operations of the network,
// and of files that have to be decoded so many. But never fewer rows than the map has.
const (
	searchFLOPs = 400e9
	searchFiles = 6000
)

// searchRows bounds the rows that are searched.
func (m *Model) searchRows(kind dataset.Kind, rows int) int {
	most := min(float64(rows), searchFLOPs/max(1, float64(m.Network.Spec().FLOPs())))
	if kind == dataset.Folder {
		most = min(most, searchFiles)
	}
	return max(reportRows, int(most))
}

// nearest finds the neighbours of the rows that ask.
func (m *Model) nearest(ctx context.Context, set *dataset.Set, a asking) (*ReportNearest, error) {
	of := len(a.searched)
	a.searched = spread(a.searched, m.searchRows(set.Kind(), of))
	n, q := len(a.searched), len(a.queries)
	if q == 0 || n == 0 {
		return nil, nil
	}
	byEmbedding, byInput, err := m.search(ctx, set, a)
	if err != nil {
		return nil, err
	}
	among := group(of) + " rows"
	if n < of {
		among = fmt.Sprintf("%s of %s rows", group(n), group(of))
	}
	out := &ReportNearest{Classes: set.Classes(), Note: fmt.Sprintf("%d rows, %s, and the rows most like them among %s.", q, a.words, among)}
	queries, err := reportItems(a.set, a.queries)
	if err != nil {
		return nil, err
	}
	for i, item := range queries {
		g := ReportNeighbours{Query: item}
		if g.Found, err = found(set, a.searched, byEmbedding, i, q); err == nil {
			g.Raw, err = found(set, a.searched, byInput, i, q)
		}
		if err != nil {
			return nil, err
		}
		out.Groups = append(out.Groups, g)
	}
	return out, nil
}

// search embeds the rows that are searched, block by block, and keeps the best for each
// query.
func (m *Model) search(ctx context.Context, set *dataset.Set, a asking) (byEmbedding, byInput *index.TopK, err error) {
	q, size, dim := len(a.queries), m.Input.Size(), m.Network.Dim()
	k := min(reportNeighbours, len(a.searched))
	norms := make([]float32, max(q, embedRows))
	x := make([]float32, q*size)
	if err := dataset.Plain(ctx, a.set, m.Norm, m.Input, a.queries, x, m.workers); err != nil {
		return nil, nil, err
	}
	z, _, err := m.Network.Output(x, q, encoder.Embedding)
	if err != nil {
		return nil, nil, err
	}
	m.pool.NormalizeRows(x, norms, x, q, size)
	byEmbedding, byInput = index.NewTopK(z, q, dim, k, false), index.NewTopK(x, q, size, k, false)
	err = m.each(ctx, set, a.searched, func(rows []int, x []float32) error {
		z, _, err := m.Network.Output(x, len(rows), encoder.Embedding)
		if err != nil {
			return err
		}
		byEmbedding.Add(m.pool, z, len(rows))
		m.pool.NormalizeRows(x, norms, x, len(rows), size)
		byInput.Add(m.pool, x, len(rows))
		return nil
	})
	return byEmbedding, byInput, err
}

// found reads the rows that a search found for query i of q.
func found(set *dataset.Set, searched []int, top *index.TopK, i, q int) ([]ReportItem, error) {
	idx, sim := top.Result()
	k := len(idx) / q
	rows := make([]int, k)
	for j := range rows {
		rows[j] = searched[idx[i*k+j]]
	}
	items, err := reportItems(set, rows)
	for j := range items {
		items[j].Cosine = float64(sim[i*k+j])
	}
	return items, err
}

// sameClass counts the items of the query's class, of those that have one.
func sameClass(query ReportItem, items []ReportItem) (same, labelled int) {
	for _, it := range items {
		if query.Class >= 0 && it.Class >= 0 {
			labelled++
			if it.Class == query.Class {
				same++
			}
		}
	}
	return same, labelled
}
