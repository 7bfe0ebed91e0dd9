package tensorfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// npyFields is what the header of a .npy file says.
type npyFields struct {
	descr   any // a string, or something else for a structured array
	fortran bool
	shape   []int
}

// parseNPYHeader reads the Python dictionary of a .npy header, such as
//
//	{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
//
// padded with spaces and a newline. The grammar is the small part of Python
// that NumPy writes: strings without escapes, integers, True, False, None,
// tuples, lists and one dictionary; anything else is refused.
func parseNPYHeader(text string) (npyFields, error) {
	p := &literal{rest: text}
	v, err := p.value(0)
	if err != nil {
		return npyFields{}, err
	}
	if p.space(); p.rest != "" {
		return npyFields{}, fmt.Errorf("%d bytes after the dictionary", len(p.rest))
	}
	dict, ok := v.(map[string]any)
	if !ok || len(dict) != 3 {
		return npyFields{}, errDict
	}
	descr, hasDescr := dict["descr"]
	fortran, isBool := dict["fortran_order"].(bool)
	dims, isTuple := dict["shape"].(tuple)
	if !hasDescr || !isBool || !isTuple {
		return npyFields{}, errDict
	}
	if len(dims) > maxDims {
		return npyFields{}, fmt.Errorf("%d dimensions, more than the %d allowed", len(dims), maxDims)
	}
	h := npyFields{descr: descr, fortran: fortran, shape: make([]int, len(dims))}
	for i, d := range dims {
		n, ok := d.(int)
		if !ok || n < 0 {
			return npyFields{}, fmt.Errorf("dimension %d of the shape is %v, want a non-negative integer", i, d)
		}
		h.shape[i] = n
	}
	return h, nil
}

// tuple is a Python tuple; a Python list is a []any.
type tuple []any

// literal is a recursive-descent parser over the rest of the text.
type literal struct{ rest string }

// maxNesting bounds the recursion; NumPy needs 4 for structured types, which
// are refused afterwards with a better message than a syntax error.
const maxNesting = 8

func (p *literal) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// take consumes s, if it is next after spaces.
func (p *literal) take(s string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, s)
	p.rest = rest
	return ok
}

func (p *literal) value(depth int) (any, error) {
	if depth > maxNesting {
		return nil, errors.New("nested too deeply")
	}
	p.space()
	switch {
	case p.rest == "":
		return nil, errors.New("ends in the middle of a value")
	case p.take("{"):
		return p.dict(depth + 1)
	case p.take("("):
		return p.tuple(depth + 1)
	case p.take("["):
		return p.sequence("]", depth+1)
	case p.rest[0] == '\'' || p.rest[0] == '"':
		return p.str()
	case p.take("True"):
		return true, nil
	case p.take("False"):
		return false, nil
	case p.take("None"):
		return nil, nil
	}
	return p.integer()
}

func (p *literal) dict(depth int) (any, error) {
	out := map[string]any{}
	for !p.take("}") {
		p.space()
		key, err := p.str()
		if err != nil {
			return nil, err
		}
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("key %q appears twice", key)
		}
		if !p.take(":") {
			return nil, fmt.Errorf("no colon after key %q", key)
		}
		if out[key], err = p.value(depth); err != nil {
			return nil, err
		}
		if !p.take(",") && !strings.HasPrefix(p.rest, "}") {
			return nil, fmt.Errorf("neither comma nor brace after the value of %q", key)
		}
	}
	return out, nil
}

// tuple reads the rest of a tuple; as in Python, (5) is the number 5.
func (p *literal) tuple(depth int) (any, error) {
	before := p.rest
	items, err := p.sequence(")", depth)
	if err != nil {
		return nil, err
	}
	list := items.([]any)
	inside := strings.TrimRight(strings.TrimSuffix(before[:len(before)-len(p.rest)], ")"), " \t\r\n")
	if len(list) == 1 && !strings.HasSuffix(inside, ",") {
		return list[0], nil
	}
	return tuple(list), nil
}

// sequence reads values separated by commas up to closing.
func (p *literal) sequence(closing string, depth int) (any, error) {
	list := []any{}
	for !p.take(closing) {
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if !p.take(",") && !strings.HasPrefix(p.rest, closing) {
			return nil, fmt.Errorf("neither comma nor %s after a value", closing)
		}
	}
	return list, nil
}

func (p *literal) str() (string, error) {
	if p.rest == "" || (p.rest[0] != '\'' && p.rest[0] != '"') {
		return "", errors.New("a key is not a string")
	}
	quote := p.rest[:1]
	s, rest, ok := strings.Cut(p.rest[1:], quote)
	if !ok || strings.ContainsAny(s, "\\\n") {
		return "", errors.New("a string is not closed or has escapes")
	}
	p.rest = rest
	return s, nil
}

// integer reads a decimal integer; Python 2 wrote long ones with an L.
func (p *literal) integer() (any, error) {
	end := 0
	for end < len(p.rest) && (p.rest[end] >= '0' && p.rest[end] <= '9' || end == 0 && p.rest[0] == '-') {
		end++
	}
	n, err := strconv.Atoi(p.rest[:end])
	if err != nil {
		return nil, fmt.Errorf("unexpected text %.20q", p.rest)
	}
	p.rest = strings.TrimPrefix(p.rest[end:], "L")
	return n, nil
}
