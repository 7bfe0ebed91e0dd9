package kernel

import "math"

// The plain loops below specify the vector kernels. The assembly adds up in
// another order and rounds a product and sum once where these round twice.

func dotGeneric(a, b []float32) float32 {
	b = b[:len(a)]
	var s float32
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

func sqDistGeneric(a, b []float32) float32 {
	b = b[:len(a)]
	var s float32
	for i, v := range a {
		d := v - b[i]
		s += d * d
	}
	return s
}

func axpyGeneric(dst []float32, s float32, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] += s * v
	}
}

func expGeneric(dst, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = float32(math.Exp(float64(v)))
	}
}

func reluGeneric(y, x []float32) {
	x = x[:len(y)]
	for i, v := range x {
		if v < 0 {
			v = 0
		}
		y[i] = v
	}
}

func reluGradGeneric(dx, dy, y []float32) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i, v := range dy {
		if !(y[i] > 0) {
			v = 0
		}
		dx[i] = v
	}
}

func leakyGeneric(y, x []float32, slope float32) {
	x = x[:len(y)]
	for i, v := range x {
		if !(v > 0) {
			v *= slope
		}
		y[i] = v
	}
}

func leakyGradGeneric(dx, dy, y []float32, slope float32) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i, v := range dy {
		if !(y[i] > 0) {
			v *= slope
		}
		dx[i] = v
	}
}

// dotDoublesGeneric adds up in float64, where the product of two float32 can
// neither overflow nor vanish.
func dotDoublesGeneric(a, b []float32) float64 {
	b = b[:len(a)]
	var s [4]float64
	for i, v := range a {
		s[i&3] += float64(v) * float64(b[i])
	}
	return s[0] + s[1] + s[2] + s[3]
}

// scaleDoublesGeneric sets z to x s, rounded once.
func scaleDoublesGeneric(z, x []float32, s float64) {
	x = x[:len(z)]
	for i, v := range x {
		z[i] = float32(float64(v) * s)
	}
}

// tangentGeneric sets dx = (dz - z dot) inverse.
func tangentGeneric(dx, dz, z []float32, dot, inverse float32) {
	dz, z = dz[:len(dx)], z[:len(dx)]
	for i, v := range dz {
		dx[i] = (v - z[i]*dot) * inverse
	}
}

// sgdGeneric is a step without momentum: w -= lr (g + decay w).
func sgdGeneric(w, g []float32, lr, decay float32) {
	g = g[:len(w)]
	for i, x := range w {
		w[i] = x - lr*(g[i]+decay*x)
	}
}

// momentumGeneric is h = g + decay w, v = mu v + h, w -= lr (a h + b v).
func momentumGeneric(w, g, v []float32, lr, mu, decay, a, b float32) {
	g, v = g[:len(w)], v[:len(w)]
	for i, x := range w {
		h := g[i] + decay*x
		v[i] = mu*v[i] + h
		w[i] = x - lr*(a*h+b*v[i])
	}
}

// adamWGeneric is m = beta1 m + (1-beta1) g, v = beta2 v + (1-beta2) g^2,
// w -= lr (c1 m / (sqrt(c2 v) + eps) + decay w).
func adamWGeneric(w, g, m, v []float32, lr, beta1, beta2, eps, decay, c1, c2 float32) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	for i, x := range w {
		m[i] = beta1*m[i] + (1-beta1)*g[i]
		v[i] = beta2*v[i] + (1-beta2)*(g[i]*g[i])
		w[i] = x - lr*(c1*m[i]/(float32(math.Sqrt(float64(c2*v[i])))+eps)+decay*x)
	}
}
