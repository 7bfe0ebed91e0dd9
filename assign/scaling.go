package assign

// Where rows are much alike, or costs have little more structure than sums and products of
// a row's and a column's number, row reduction leaves many rows free and every search
// grows over all columns. An auction (Bertsekas, Annals of Operations Research 14, 1988)
// then finds potentials that are nearly right first: rows bid for their cheapest columns
// by at least eps more than they must, so that prices move in large steps, and again with
// smaller and smaller eps. Its pairing is thrown away, the exact phases follow.

// scalingFactor is how much smaller eps gets in each round.
const scalingFactor = 5

// scalePotentials replaces the potentials by those of an auction, of a square problem,
// and the candidates and the start by those that go with them.
func (p *lap[T]) scalePotentials(guess []int32) {
	eps := p.spread() / 4
	last := eps / T(4*p.n)
	for eps > 0 && eps > last {
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
	for len(p.queue) > 0 {
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
