package assign

import "slices"

// Row reduction ends in price wars: a few rows outbid each other for fewer columns by next
// to nothing, and the rows that are left over each need a search that grows over half of
// the columns. An auction (Bertsekas, Annals of Operations Research 14, 1988) cuts these
// short: a row bids eps more than it must. So nearly all rows find a column that is, up to
// eps, their cheapest; those for which it is not exactly so are set free again, and the
// exact phases follow. One round over the lists of candidates does.
//
// Where rows are much alike, or costs have little more structure than sums and products of
// a row's and a column's number, row reduction leaves many rows free and every search
// grows over all columns. Then rows bid in full view of all columns, with a large eps, so that
// prices move in large steps, and again with smaller and smaller ones.

// scalingFactor is how much smaller eps gets in each round.
const scalingFactor = 5

// scalePotentials replaces the potentials by those of an auction, of a square problem,
// and the candidates and the start by those that go with them.
func (p *lap[T]) scalePotentials(guess []int32) {
	eps := p.spread() / 4
	last := eps / T(4*p.n)
	for eps > 0 && eps > last && !p.stopped {
		p.auction(eps)
		eps /= scalingFactor
	}
	p.unpair()
	for i := range p.n {
		p.fill(i)
	}
	p.start(guess)
}

// structured reports whether so many rows are free that an auction is worth its time. It
// reads rows in full, as searches do where there are few columns.
func (p *lap[T]) structured() bool {
	const least = 64
	share := 8
	if p.whole {
		share = 5
	}
	return p.minTwo != nil && p.n == p.m && p.n > least && len(p.queue) > p.n/share
}

// spread is the largest difference of reduced costs within a row, among a sample of rows.
func (p *lap[T]) spread() T {
	const sample = 32
	var most T
	for k := range min(sample, p.n) {
		row := p.row(k * p.n / min(sample, p.n))
		low, high := row[0]-p.v[0], row[0]-p.v[0]
		for j, x := range row {
			low, high = min(low, x-p.v[j]), max(high, x-p.v[j])
		}
		most = max(most, high-low)
	}
	return most
}

// unpair frees all rows and columns and raises the potentials so that the largest is 0:
// they cannot drift out of range.
func (p *lap[T]) unpair() {
	for i := range p.colOf {
		p.colOf[i] = free
	}
	largest := p.v[0]
	for j, x := range p.v {
		p.rowOf[j] = free
		largest = max(largest, x)
	}
	for j := range p.v {
		p.v[j] -= largest
	}
}

// auction pairs all rows so that every pair is within eps of the cheapest of its row.
func (p *lap[T]) auction(eps T) {
	p.unpair()
	p.queue = p.queue[:0]
	for i := range p.n {
		p.queue = append(p.queue, int32(p.n-1-i))
	}
	for len(p.queue) > 0 && !p.halted() {
		last := len(p.queue) - 1
		i := p.queue[last]
		p.scans++
		first, _, low, high := p.minTwo(p.row(int(i)), p.v)
		p.v[first] -= high - low + eps
		displaced := p.rowOf[first]
		p.pair(i, int32(first))
		if displaced == free {
			p.queue = p.queue[:last]
			continue
		}
		p.colOf[displaced] = free
		p.queue[last] = displaced
	}
}

const (
	marginShare  = 50 // eps of outbid is this part of how far lists reach
	bidsPerRow   = 48 // after so many outbid gives up
	sampledLists = 64 // lists whose reach is looked at
)

// outbid pairs the queued rows within eps of their cheapest columns, and then queues those
// that are not exactly at the cheapest. Of a square problem: a column that had a bid may be
// left free, with a potential below that of the others.
func (p *lap[T]) outbid() {
	eps := p.reach() / marginShare
	for budget := bidsPerRow * p.n; eps > 0 && len(p.queue) > 0 && budget > 0 && !p.halted(); budget-- {
		last := len(p.queue) - 1
		i := p.queue[last]
		first, _, apart := p.bid(i)
		p.queue = p.queue[:last]
		if first == free {
			continue
		}
		p.v[first] -= apart + eps
		if displaced := p.rowOf[first]; displaced != free {
			p.colOf[displaced] = free
			p.queue = append(p.queue, displaced)
		}
		p.pair(i, first)
	}
	p.release()
}

// reach is how far the limit of a list is from its cheapest column, the median of some.
func (p *lap[T]) reach() T {
	reach := p.saved[:0]
	for k := range min(sampledLists, p.n) {
		if i := k * p.n / min(sampledLists, p.n); p.candN[i] > 0 && p.limit[i] < p.inf {
			reach = append(reach, p.limit[i]-p.least(i))
		}
	}
	if len(reach) == 0 {
		return 0
	}
	slices.Sort(reach)
	return reach[len(reach)/2]
}

// release queues the rows that have no column or a cheaper one, and pairs those of them
// whose cheapest is free.
func (p *lap[T]) release() {
	p.next = p.next[:0]
	for i := range int32(p.n) {
		j := p.colOf[i]
		if _, low := p.cheapest(i); j != free && p.c[int(i)*p.m+int(j)]-p.v[j] <= low {
			continue
		}
		if j != free {
			p.colOf[i], p.rowOf[j] = free, free
		}
		p.next = append(p.next, i)
	}
	p.queue = p.queue[:0]
	for _, i := range p.next {
		if j, _ := p.cheapest(i); j != free && p.rowOf[j] == free {
			p.pair(i, j)
		} else {
			p.queue = append(p.queue, i)
		}
	}
}

// cheapest returns the cheapest column of row i, free if it has none.
func (p *lap[T]) cheapest(i int32) (first int32, low T) {
	first, _, low, _ = p.twoCheapest(i)
	if low > p.limit[i] {
		p.fill(int(i))
		p.scans++
		first, _, low, _ = p.twoCheapest(i)
	}
	return first, low
}
