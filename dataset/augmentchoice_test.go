package dataset

import (
	"reflect"
	"strings"
	"testing"
)

// augmentSets are a set of each kind that has presets of its own.
func augmentSets() map[string]*Set {
	small, photo := Shape{32, 32, 3}, Shape{64, 64, 3}
	return map[string]*Set{
		"vectors": {opened: opened{vector: true, shape: Shape{1, 1, 5}, out: Shape{1, 1, 5}}},
		"digits":  {opened: opened{shape: Shape{8, 8, 1}, out: Shape{8, 8, 1}}},
		"grey":    {opened: opened{shape: Shape{28, 28, 1}, out: Shape{28, 28, 1}}},
		"colour":  {opened: opened{shape: small, out: small}},
		"photos":  {opened: opened{shape: Shape{74, 74, 3}, out: photo}},
	}
}

// change is how much an augmentation may change a row, entry by entry; the area
// that a crop leaves out counts.
func changeOf(a Augment) (entries []float64) {
	for _, e := range augmentEntries {
		v := *e.of(&a)
		switch e.name {
		case "crop_min":
			v = a.CropMax - v
		case "crop_ratio", "crop_max", "jitter":
			continue
		}
		entries = append(entries, v)
	}
	return entries
}

func TestStrengthsAreInOrder(t *testing.T) {
	for kind, s := range augmentSets() {
		var before []float64
		for _, strength := range []string{AugmentNone, AugmentWeak, AugmentAuto, AugmentStrong} {
			a, err := ChooseAugment(s, strength)
			if err != nil {
				t.Fatalf("%s %s: %v", kind, strength, err)
			}
			now := changeOf(a)
			more := false
			for i := range before {
				more = more || now[i] > before[i]
				if now[i] < before[i] {
					t.Errorf("%s: %s changes %s less than the strength before", kind, strength, augmentEntries[i].name)
				}
			}
			if before != nil && !more {
				t.Errorf("%s: %s changes nothing more than the strength before", kind, strength)
			}
			before = now
			if strength == AugmentNone {
				continue
			}
			if again, err := ChooseAugment(s, "none,"+a.String()); err != nil || again.String() != a.String() {
				t.Errorf("%s: %s is read back as %s, %v", kind, a, again, err)
			}
		}
	}
}

func TestChooseAugment(t *testing.T) {
	sets := augmentSets()
	colour := Augment{CropMin: .3, CropMax: 1, CropRatio: 4. / 3, Flip: .5,
		Jitter: .8, Brightness: .4, Contrast: .4, Saturation: .4, Hue: .1, Grey: .2}
	changed := colour
	changed.CropMin, changed.Grey = .2, 0
	whole := colour
	whole.CropMin, whole.CropMax, whole.CropRatio = 0, 0, 0
	for _, c := range []struct {
		kind, text string
		want       Augment
	}{
		{"colour", "auto", colour},
		{"colour", "crop_min=.2,grey=0", changed},
		{"colour", " auto, grey = 0 , crop_min=2e-1", changed},
		{"colour", "crop_max=0", whole},
		{"grey", "none,flip=.5", Augment{Flip: .5}},
		{"grey", "none,crop_min=.5,crop_max=.8", Augment{CropMin: .5, CropMax: .8}},
		{"vectors", "none,mask=.1", Augment{Mask: .1}},
		{"vectors", "strong,mask=0", Augment{Noise: 1.2}},
	} {
		if got, err := ChooseAugment(sets[c.kind], c.text); err != nil || got != c.want {
			t.Errorf("%s, %q: %+v, %v", c.kind, c.text, got, err)
		}
	}
	for _, c := range []struct{ kind, text, want string }{
		{"colour", "mild", `"mild": choose one of auto, none, weak, strong`},
		{"colour", "", "choose one of auto"},
		{"colour", "flip=.5,weak", "weak must come first"},
		{"colour", "blur=1,flip=2", `"blur=1": there is no such entry: choose among crop_min, crop_max`},
		{"colour", "blur=1,flip=2", "flip=2: want a number from 0 to 1"},
		{"colour", "hue=NaN", "hue=NaN: want a number from 0 to 0.5"},
		{"colour", "flip=", "flip=: want a number"},
		{"colour", "flip=.1,flip=.2", "flip is given twice"},
		{"colour", "jitter=0", "the colours would change always"},
		{"colour", "crop_ratio=.5", "crop_ratio 0.5 is not within 1 to 4"},
		{"colour", "crop_max=.2", "crop_min 0.3 is not within 0 to 0.2"},
		{"colour", "crop_min=.2,crop_max=0", "crop_min 0.2 is not within 0 to 0"},
		{"colour", "crop_min=0", "a view needs some area"},
		{"colour", "noise=.1", "noise is for vectors, and the data are colour images"},
		{"grey", "hue=.1,mask=.1", "hue is for colour images, and the data are grey images"},
		{"grey", "hue=.1,mask=.1", "mask is for vectors"},
		{"vectors", "flip=.5", "flip is for images, and the data are vectors"},
		{"vectors", "noise=0,mask=0", "nothing is left that would change a row"},
		{"grey", "none,crop_ratio=1", "nothing is left"},
		{"grey", "none,jitter=.5", "nothing is left"},
	} {
		if _, err := ChooseAugment(sets[c.kind], c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %q: error %v, want one that says %q", c.kind, c.text, err, c.want)
		}
	}
}

// Every entry of the struct has a name, that of its JSON.
func TestAugmentEntriesAreAll(t *testing.T) {
	typ := reflect.TypeFor[Augment]()
	if typ.NumField() != len(augmentEntries) {
		t.Errorf("%d entries have names, the struct has %d", len(augmentEntries), typ.NumField())
	}
	for i, e := range augmentEntries {
		var a Augment
		*e.of(&a) = 1
		tag, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		if reflect.ValueOf(a).Field(i).Float() != 1 || tag != e.name {
			t.Errorf("entry %s is not field %d, %s", e.name, i, tag)
		}
	}
	if got := (Augment{CropMin: .25, Hue: 1. / 3}).String(); got != "crop_min=0.25,hue=0.3333" {
		t.Errorf("printed as %s", got)
	}
}
