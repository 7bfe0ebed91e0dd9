package infomax

import (
	"fmt"
	"math"
)

// Capacity is the information in nats that points uniform on the sphere
// S^(d-1) keep through Gaussian noise of deviation sigma per coordinate: what
// the estimate of [Estimate] tends to for uniform points as their number grows,
// and the most that any encoder can reach. Equation (7), in the form
//
//	C = 1/sigma^2 - E log L(r/sigma^2),  L(k) = Gamma(d/2) (2/k)^(d/2-1) I_{d/2-1}(k)
//
// where r is the length of a noisy point and L(k) the mean of e^(k t) over the
// first coordinate t of the sphere: a difference of two numbers near 1/sigma^2,
// not of two entropies near d. The relative error is below 1e-6 for d from 2 to
// 4096 and sigma from .01 to 10.
func Capacity(d int, sigma float64) float64 {
	if d < 2 || !(sigma > 0) || math.IsInf(sigma, 0) {
		panic(fmt.Sprintf("infomax: capacity wants d >= 2 and sigma > 0, got %d and %v", d, sigma))
	}
	// The density of u = log r, up to a constant, on a grid around its mode. It
	// falls like a Gaussian or e^(d u) on both sides, so the trapezoidal rule
	// converges faster than any power of the step.
	v := 1 / (sigma * sigma)
	logDensity := func(u float64) (logP, logL float64) {
		r := math.Exp(u)
		logL = logMeanExp(r*v, d)
		return float64(d)*u - r*r*v/2 + logL, logL
	}
	mode := maximise(func(u float64) float64 { p, _ := logDensity(u); return p }, math.Log(math.Sqrt(1+float64(d)*sigma*sigma)))
	peak, _ := logDensity(mode)
	const step = .25 // of the width
	width := curvatureWidth(func(u float64) float64 { p, _ := logDensity(u); return p }, mode)
	var mass, total float64
	add := func(u float64) bool {
		p, l := logDensity(u)
		w := math.Exp(p - peak)
		mass += w
		total += w * (v - l)
		return w > 1e-18
	}
	add(mode)
	for i := 1; add(mode + float64(i)*step*width); i++ {
	}
	for i := 1; add(mode - float64(i)*step*width); i++ {
	}
	return total / mass
}

// CapacityBound is (d/2) log(1 + 1/(d sigma^2)), the capacity of a Gaussian of
// the same power: an upper bound of Capacity, near it where sigma is large.
func CapacityBound(d int, sigma float64) float64 {
	return float64(d) / 2 * math.Log1p(1/(float64(d)*sigma*sigma))
}

// logMeanExp is log L(k): the logarithm of the mean of e^(k t), where t is the
// first coordinate of a uniform point of S^(d-1). With t = tanh s the density of
// s is proportional to cosh(s)^-(d-1), and both integrals are sums over the
// same grid, so that what is left of the error cancels.
func logMeanExp(k float64, d int) float64 {
	if k < 1e-3*math.Sqrt(float64(d)) { // series: 1 + k^2/2d + k^4/8d(d+2) + ...
		q, m := k*k/2, float64(d)
		return math.Log1p(q / m * (1 + q/(2*(m+2))*(1+q/(3*(m+4)))))
	}
	n := float64(d - 1)
	tilted := func(s float64) float64 { return k*math.Tanh(s) - n*logCosh(s) }
	plain := func(s float64) float64 { return -n * logCosh(s) }
	// The mode solves k (1 - t^2) = n t.
	t := 2 * k / (n + math.Sqrt(n*n+4*k*k))
	return logIntegral(tilted, math.Atanh(t)) - logIntegral(plain, 0)
}

// logCosh is log cosh s without overflow.
func logCosh(s float64) float64 {
	s = math.Abs(s)
	return s + math.Log1p(math.Exp(-2*s)) - math.Ln2
}

// logIntegral is the logarithm of the integral of e^f over the line, where f
// has its maximum at mode and falls off at least linearly.
func logIntegral(f func(float64) float64, mode float64) float64 {
	peak := f(mode)
	step := min(curvatureWidth(f, mode)/4, .15) // tanh has poles at +-i pi/2
	sum := 1.0
	for _, h := range []float64{step, -step} {
		for i := 1; ; i++ {
			w := math.Exp(f(mode+float64(i)*h) - peak)
			sum += w
			if w < 1e-17 {
				break
			}
		}
	}
	return peak + math.Log(sum*step)
}

// curvatureWidth is the deviation of the Gaussian that touches e^f at its mode.
func curvatureWidth(f func(float64) float64, mode float64) float64 {
	h := 1e-3
	for range 40 { // a step over which f falls by about 1
		drop := 2*f(mode) - f(mode+h) - f(mode-h)
		switch {
		case drop > 4:
			h /= 2
		case drop < .25:
			h *= 2
		default:
			return h / math.Sqrt(drop)
		}
	}
	return h
}

// maximise finds the maximum of a unimodal f near start: it widens an interval
// around it and narrows that by the golden section.
func maximise(f func(float64) float64, start float64) float64 {
	h := 1e-3
	lo, hi := start-h, start+h
	for f(lo) > f(lo+h) {
		h *= 2
		lo -= h
	}
	for h = 1e-3; f(hi) > f(hi-h); {
		h *= 2
		hi += h
	}
	const golden = .6180339887498949
	a, b := hi-golden*(hi-lo), lo+golden*(hi-lo)
	fa, fb := f(a), f(b)
	for hi-lo > 1e-7*(1+math.Abs(hi)) {
		if fa > fb {
			hi, b, fb = b, a, fa
			a = hi - golden*(hi-lo)
			fa = f(a)
		} else {
			lo, a, fa = a, b, fb
			b = lo + golden*(hi-lo)
			fb = f(b)
		}
	}
	return (lo + hi) / 2
}
