package dataset

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Strengths of augmentation: what is right for the kind of data, nothing, and less
// and more than that.
const (
	AugmentAuto   = "auto"
	AugmentNone   = "none"
	AugmentWeak   = "weak"
	AugmentStrong = "strong"
)

// AugmentStrengths lists the strengths that ChooseAugment knows.
func AugmentStrengths() []string {
	return []string{AugmentAuto, AugmentNone, AugmentWeak, AugmentStrong}
}

// An augmentEntry is a number of Augment as the command line and JSON name it.
type augmentEntry struct {
	name string
	of   func(a *Augment) *float64
	most float64
	kind string // of data that it changes
}

// The kinds of data that entries change; colours are images as well.
const (
	changesImages  = "images"
	changesColours = "colour images"
	changesVectors = "vectors"
)

// augmentEntries are all, in the order in which they are printed.
var augmentEntries = []augmentEntry{
	{"crop_min", func(a *Augment) *float64 { return &a.CropMin }, 1, changesImages},
	{"crop_max", func(a *Augment) *float64 { return &a.CropMax }, 1, changesImages},
	{"crop_ratio", func(a *Augment) *float64 { return &a.CropRatio }, 4, changesImages},
	{"flip", func(a *Augment) *float64 { return &a.Flip }, 1, changesImages},
	{"rotate", func(a *Augment) *float64 { return &a.Rotate }, 180, changesImages},
	{"shift", func(a *Augment) *float64 { return &a.Shift }, 1, changesImages},
	{"jitter", func(a *Augment) *float64 { return &a.Jitter }, 1, changesImages},
	{"brightness", func(a *Augment) *float64 { return &a.Brightness }, 1, changesImages},
	{"contrast", func(a *Augment) *float64 { return &a.Contrast }, 1, changesImages},
	{"saturation", func(a *Augment) *float64 { return &a.Saturation }, 1, changesColours},
	{"hue", func(a *Augment) *float64 { return &a.Hue }, .5, changesColours},
	{"grey", func(a *Augment) *float64 { return &a.Grey }, 1, changesColours},
	{"noise", func(a *Augment) *float64 { return &a.Noise }, 100, changesVectors},
	{"mask", func(a *Augment) *float64 { return &a.Mask }, 1, changesVectors},
}

// AugmentEntries lists the names of the entries of Augment.
func AugmentEntries() (names []string) {
	for _, e := range augmentEntries {
		names = append(names, e.name)
	}
	return names
}

// String lists the entries that are not 0, to four digits, as ChooseAugment reads
// them after "none,". It is "none" if there are no such entries.
func (a Augment) String() string {
	var parts []string
	for _, e := range augmentEntries {
		if v := *e.of(&a); v != 0 {
			parts = append(parts, e.name+"="+strconv.FormatFloat(v, 'g', 4, 64))
		}
	}
	if len(parts) == 0 {
		return AugmentNone
	}
	return strings.Join(parts, ",")
}

// augmentChoice is a strength and the entries that differ from it.
type augmentChoice struct {
	strength string
	changes  []augmentChange
}

type augmentChange struct {
	entry augmentEntry
	value float64
}

// parseAugment reads a choice; the error reports everything that is wrong with it.
func parseAugment(text string) (augmentChoice, error) {
	c := augmentChoice{strength: AugmentAuto}
	var errs []error
	for i, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		if i == 0 && slices.Contains(AugmentStrengths(), part) {
			c.strength = part
			continue
		}
		change, err := parseChange(part)
		if err == nil && slices.ContainsFunc(c.changes, func(o augmentChange) bool { return o.entry.name == change.entry.name }) {
			err = fmt.Errorf("%s is given twice", change.entry.name)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.changes = append(c.changes, change)
	}
	return c, errors.Join(errs...)
}

func parseChange(part string) (c augmentChange, err error) {
	name, number, found := strings.Cut(part, "=")
	at := slices.IndexFunc(augmentEntries, func(e augmentEntry) bool { return e.name == strings.TrimSpace(name) })
	switch {
	case !found && slices.Contains(AugmentStrengths(), part):
		return c, fmt.Errorf("%s must come first", part)
	case !found:
		return c, fmt.Errorf("%q: choose one of %s, and after it changes such as crop_min=.2", part, strings.Join(AugmentStrengths(), ", "))
	case at < 0:
		return c, fmt.Errorf("%q: there is no such entry: choose among %s", part, strings.Join(AugmentEntries(), ", "))
	}
	c.entry = augmentEntries[at]
	c.value, err = strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(c.value >= 0 && c.value <= c.entry.most) {
		return c, fmt.Errorf("%s: want a number from 0 to %g", part, c.entry.most)
	}
	if c.value == 0 && c.entry.name == "jitter" {
		return c, errors.New("jitter=0: the colours would change always; that they never do is brightness=0,contrast=0,saturation=0,hue=0")
	}
	return c, nil
}

// CheckAugment tells whether ChooseAugment can read a choice, before there are data.
func CheckAugment(text string) error {
	_, err := parseAugment(text)
	return err
}

// ChooseAugment returns the augmentation that text asks for: a strength, entries
// of Augment by their JSON names, or a strength and then the entries that differ
// from it, as in
//
//	strong
//	crop_min=.2,grey=0
//	none,flip=.5
//
// Entries alone differ from auto, which is DefaultAugment. crop_max=0 also takes
// back the other two entries of a crop. The error names entries that are out of
// range or change nothing in data of the set's kind, and says so if nothing is
// left.
func ChooseAugment(s *Set, text string) (Augment, error) {
	c, err := parseAugment(text)
	if err != nil {
		return Augment{}, err
	}
	a := s.augmentOf(c.strength)
	if slices.ContainsFunc(c.changes, func(c augmentChange) bool { return c.entry.name == "crop_max" && c.value == 0 }) {
		a.CropMin, a.CropRatio = 0, 0
	}
	var errs []error
	for _, change := range c.changes {
		e := change.entry
		if !s.changedBy(e.kind) {
			errs = append(errs, fmt.Errorf("%s is for %s, and the data are %s: leave it out", e.name, e.kind, s.kindName()))
			continue
		}
		*e.of(&a) = change.value
	}
	if err := errors.Join(errs...); err != nil {
		return a, err
	}
	if a.idle() && (c.strength != AugmentNone || len(c.changes) > 0) {
		return a, fmt.Errorf("nothing is left that would change a row: if that is meant, say %s", AugmentNone)
	}
	return a, a.Validate()
}

// changedBy reports whether entries of a kind change the rows of the set.
func (s *Set) changedBy(kind string) bool {
	switch kind {
	case changesVectors:
		return s.vector
	case changesColours:
		return !s.vector && s.shape.C == 3
	}
	return !s.vector
}

func (s *Set) kindName() string {
	switch {
	case s.vector:
		return "vectors"
	case s.shape.C == 1:
		return "grey images"
	case s.shape.C == 3:
		return "colour images"
	}
	return fmt.Sprintf("images of %d channels", s.shape.C)
}

// idle reports whether no view differs from the row. The two bounds of a crop, a
// ratio or a share of jitter alone make no change.
func (a Augment) idle() bool {
	if a.CropMax == 0 {
		a.CropMin, a.CropRatio = 0, 0
	}
	a.Jitter = 0
	return a == Augment{}
}

// augmentOf is the preset of a strength for the kind of data that the set holds.
func (s *Set) augmentOf(strength string) Augment {
	presets := s.augmentPresets()
	switch strength {
	case AugmentNone:
		return Augment{}
	case AugmentWeak:
		return presets.weak
	case AugmentStrong:
		return presets.strong
	}
	return presets.auto
}

type augmentPresets struct{ weak, auto, strong Augment }

// DefaultAugment returns the preset auto for what the set holds: vectors, tiny
// images (up to 16 pixels: digits, where a mirror image is another thing), small
// grey images, small colour images, or photographs.
//
//	auto     vectors       noise .8
//	         tiny          70 to 100 % of the area, turned and shifted a little
//	         grey          30 to 100 %, mirrored, much darker or brighter
//	         colour        30 to 100 %, mirrored, colours jittered or grey
//	         photographs   25 to 100 %, the same
//	weak     about half of every change
//	strong   images: 8 to 100 % (tiny: 40, grey: 15) and up to twice the change of
//	         colours, which for photographs is SimCLR's (Chen et al. 2020), less its
//	         blur; vectors: noise 1.2, mask .15
func DefaultAugment(s *Set) Augment { return s.augmentPresets().auto }

func (s *Set) augmentPresets() augmentPresets {
	switch side := max(s.out.H, s.out.W); {
	case s.vector:
		return augmentPresets{
			weak:   Augment{Noise: .4},
			auto:   Augment{Noise: .8}, // docs/results/vectors.md
			strong: Augment{Noise: 1.2, Mask: .15},
		}
	case side <= 16:
		return augmentPresets{
			weak:   Augment{CropMin: .85, CropMax: 1, CropRatio: 1.08, Rotate: 6, Shift: .04, Brightness: .1},
			auto:   Augment{CropMin: .7, CropMax: 1, CropRatio: 1.15, Rotate: 12, Shift: .08, Brightness: .2},
			strong: Augment{CropMin: .4, CropMax: 1, CropRatio: 1.3, Rotate: 24, Shift: .12, Brightness: .4},
		}
	case s.out.C == 1:
		return augmentPresets{
			weak:   Augment{CropMin: .6, CropMax: 1, CropRatio: 1.15, Flip: .5, Brightness: .4},
			auto:   Augment{CropMin: .3, CropMax: 1, CropRatio: 4. / 3, Flip: .5, Brightness: .8}, // docs/results/levers.md
			strong: Augment{CropMin: .15, CropMax: 1, CropRatio: 4. / 3, Flip: .5, Brightness: 1},
		}
	}
	crop := .25
	if s.shape == s.out { // small: every pixel is wanted
		crop = .3
	}
	return augmentPresets{
		weak: Augment{CropMin: .6, CropMax: 1, CropRatio: 1.15, Flip: .5,
			Jitter: .8, Brightness: .2, Contrast: .2, Saturation: .2, Hue: .05, Grey: .1},
		auto: Augment{CropMin: crop, CropMax: 1, CropRatio: 4. / 3, Flip: .5,
			Jitter: .8, Brightness: .4, Contrast: .4, Saturation: .4, Hue: .1, Grey: .2},
		strong: Augment{CropMin: .08, CropMax: 1, CropRatio: 4. / 3, Flip: .5,
			Jitter: .8, Brightness: .8, Contrast: .8, Saturation: .8, Hue: .2, Grey: .2},
	}
}
