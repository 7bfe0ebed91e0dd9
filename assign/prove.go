package assign

import (
	"math"
	"math/big"
)

// Float64 potentials carry rounding errors, so that pairs may fail to be tight by
// the last bit. What follows decides optimality all the same, without a tolerance.
//
// Reduced costs R_ij = c_ij - v_j are taken as exact differences of the stored
// numbers; a computed one is R_ij rounded once. Let G be the sum over rows of how
// much the pair exceeds the least of its row. An assignment that uses pair (i, j)
// costs at least the bound plus the slack of (i, j), and ours costs the bound plus G;
// so a better one uses only pairs whose slack is below G. These are next to none. The
// exchanges among them are a graph, and ours is optimal if and only if it has no
// negative cycle, which is decided in integers.

// proveLimit bounds the additions of a search for a negative cycle, and twice that those of
// all searches.
const proveLimit = 1 << 23

// prove reports whether the pairing is optimal for the stored matrix, exactly. If it
// finds a better one it takes it. With very many near ties it gives up: false.
func (p *lap[T]) prove() bool {
	for left := 2 * proveLimit; left > 0 && !p.look(); {
		excess := p.excess()
		if excess == 0 {
			return true
		}
		g, ok := p.exchanges(excess)
		if !ok {
			return false
		}
		g.trim()
		cycle, additions := g.negativeCycle()
		left -= max(additions, proveLimit/64)
		if cycle == nil {
			return true
		}
		p.rotate(cycle)
	}
	return false
}

// excess is an upper bound of G, and 0 only if every pair is exactly the least of
// its row.
func (p *lap[T]) excess() float64 {
	const eps = 0x1p-52
	var total float64
	for i, pair := range p.colOf {
		row := p.c[i*p.m : (i+1)*p.m]
		least := row[pair] - p.v[pair]
		exact := true
		for j, cost := range row {
			r := cost - p.v[j]
			if r > row[pair]-p.v[pair] {
				continue
			}
			least = min(least, r)
			exact = exact && exactSign([]float64{float64(cost), -float64(p.v[j]), -float64(row[pair]), float64(p.v[pair])}) >= 0
		}
		if !exact {
			a, b := float64(row[pair]-p.v[pair]), float64(least)
			total += (a - b) + eps*(math.Abs(a)+math.Abs(b))
		}
	}
	return total * (1 + eps*float64(p.n))
}

// exchange moves row from to the column of row to, at a change of cost. The node
// p.n stands for the columns that are free: from = p.n frees the column of to.
type exchange struct {
	from, to int32
	col      int32
	new, old float64 // costs of from, whose difference counts
}

type exchangeGraph struct {
	nodes int
	edges []exchange
}

// exchanges lists the moves with a slack of at most excess, and a little more for
// rounding; not ok if they are too many to look through.
func (p *lap[T]) exchanges(excess float64) (g *exchangeGraph, ok bool) {
	const eps = 0x1p-51
	g = &exchangeGraph{nodes: p.n + 1}
	outside := int32(p.n)
	for i, pair := range p.colOf {
		row := p.c[i*p.m : (i+1)*p.m]
		least := float64(p.minimum(row))
		for j, cost := range row {
			r := float64(cost - p.v[j])
			if int32(j) == pair || cost == p.inf || r-least > excess+eps*(math.Abs(r)+math.Abs(least)) {
				continue
			}
			to := p.rowOf[j]
			if to == free {
				to = outside
			}
			g.edges = append(g.edges, exchange{int32(i), to, int32(j), float64(cost), float64(row[pair])})
		}
		if p.n < p.m && -float64(p.v[pair]) <= excess {
			g.edges = append(g.edges, exchange{from: outside, to: int32(i)})
		}
		if len(g.edges)*g.nodes > proveLimit {
			return nil, false
		}
	}
	return g, true
}

// trim drops edges that lie on no cycle because nothing enters or leaves an end.
func (g *exchangeGraph) trim() {
	enters, leaves := make([]bool, g.nodes), make([]bool, g.nodes)
	for {
		clear(enters)
		clear(leaves)
		for _, e := range g.edges {
			leaves[e.from] = true
			enters[e.to] = true
		}
		kept := g.edges[:0]
		for _, e := range g.edges {
			if enters[e.from] && leaves[e.to] {
				kept = append(kept, e)
			}
		}
		if len(kept) == len(g.edges) {
			return
		}
		g.edges = kept
	}
}

// negativeCycle returns the edges of a cycle that lowers the cost, nil if there is
// none: Bellman and Ford, in integers.
func (g *exchangeGraph) negativeCycle() (cycle []exchange, additions int) {
	weights := g.weights()
	dist := make([]big.Int, g.nodes)
	via := make([]int, g.nodes) // edge into the node
	for k := range via {
		via[k] = -1
	}
	var offer big.Int
	last := int32(-1)
	for range g.nodes {
		last = -1
		additions += len(g.edges)
		for k, e := range g.edges {
			offer.Add(&dist[e.from], &weights[k])
			if offer.Cmp(&dist[e.to]) < 0 {
				dist[e.to].Set(&offer)
				via[e.to] = k
				last = e.to
			}
		}
		if last < 0 {
			return nil, additions
		}
	}
	for range g.nodes { // back into the cycle
		last = g.edges[via[last]].from
	}
	for at := last; ; {
		e := g.edges[via[at]]
		cycle = append(cycle, e)
		if at = e.from; at == last {
			return cycle, additions
		}
	}
}

// weights are new - old of every edge in the smallest unit any of them has.
func (g *exchangeGraph) weights() []big.Int {
	unit := math.MaxInt
	for _, e := range g.edges {
		for _, x := range []float64{e.new, e.old} {
			if x != 0 {
				_, exponent := math.Frexp(x)
				unit = min(unit, exponent-53)
			}
		}
	}
	weights := make([]big.Int, len(g.edges))
	var old big.Int
	for k, e := range g.edges {
		inUnits(&weights[k], e.new, unit)
		weights[k].Sub(&weights[k], inUnits(&old, e.old, unit))
	}
	return weights
}

// inUnits sets z to x / 2^unit, an integer.
func inUnits(z *big.Int, x float64, unit int) *big.Int {
	if x == 0 {
		return z.SetInt64(0)
	}
	fraction, exponent := math.Frexp(x)
	z.SetInt64(int64(fraction * (1 << 53)))
	return z.Lsh(z, uint(exponent-53-unit))
}

// rotate carries out the moves of a cycle.
func (p *lap[T]) rotate(cycle []exchange) {
	for _, e := range cycle {
		if int(e.from) < p.n {
			if j := p.colOf[e.from]; p.rowOf[j] == e.from {
				p.rowOf[j] = free
			}
			p.pair(e.from, e.col)
		}
	}
}
