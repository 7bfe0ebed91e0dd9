package kernel

import "math"

// SGD updates w, over its length, by the gradient g with weight decay and
// momentum: h = g + decay w, v = momentum v + h, w -= lr v, or with nesterov
// w -= lr (h + momentum v). v may be nil if momentum is 0.
func (p *Pool) SGD(w, g, v []float32, lr, momentum, decay float32, nesterov bool) {
	need(g, len(w))
	q := p.startPass(len(w), elemChunk)
	q.w, q.g, q.v = w, g, v
	if momentum == 0 {
		q.s = [7]float32{lr, decay}
		p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
			n := lo + t.whole(hi-lo)
			t.sgd(q.w[lo:n], q.g[lo:n], q.s[0], q.s[1])
			sgdGeneric(q.w[n:hi], q.g[n:hi], q.s[0], q.s[1])
		})
		return
	}
	need(v, len(w))
	q.s = [7]float32{lr, momentum, decay, 0, 1}
	if nesterov {
		q.s[3], q.s[4] = 1, momentum
	}
	p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
		n, s := lo+t.whole(hi-lo), &q.s
		t.momentum(q.w[lo:n], q.g[lo:n], q.v[lo:n], s[0], s[1], s[2], s[3], s[4])
		momentumGeneric(q.w[n:hi], q.g[n:hi], q.v[n:hi], s[0], s[1], s[2], s[3], s[4])
	})
}

// AdamW updates w, over its length, by Adam with decoupled weight decay
// (Loshchilov and Hutter, 2019): m = beta1 m + (1-beta1) g, v = beta2 v +
// (1-beta2) g^2, w -= lr (m^ / (sqrt(v^) + eps) + decay w), where
// m^ = m / (1 - beta1^step) and v^ = v / (1 - beta2^step) undo the start from
// zero. step counts from 1.
func (p *Pool) AdamW(w, g, m, v []float32, step int, lr, beta1, beta2, eps, decay float32) {
	if step < 1 {
		panic("kernel: AdamW steps count from 1")
	}
	need(g, len(w))
	need(m, len(w))
	need(v, len(w))
	c1 := float32(1 / (1 - math.Pow(float64(beta1), float64(step))))
	c2 := float32(1 / (1 - math.Pow(float64(beta2), float64(step))))
	q := p.startPass(len(w), elemChunk)
	q.w, q.g, q.m, q.v, q.s = w, g, m, v, [7]float32{lr, beta1, beta2, eps, decay, c1, c2}
	p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
		n, s := lo+t.whole(hi-lo), &q.s
		t.adamW(q.w[lo:n], q.g[lo:n], q.m[lo:n], q.v[lo:n], s[0], s[1], s[2], s[3], s[4], s[5], s[6])
		adamWGeneric(q.w[n:hi], q.g[n:hi], q.m[n:hi], q.v[n:hi], s[0], s[1], s[2], s[3], s[4], s[5], s[6])
	})
}
