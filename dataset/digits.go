package dataset

import (
	"bytes"
	"context"
	"embed"
	"fmt"
)

// digitFiles holds the "Optical Recognition of Handwritten Digits" data of the
// UCI Machine Learning Repository by E. Alpaydin and C. Kaynak, CC BY 4.0: 8x8
// images with values 0 to 16, and their labels.
//
//go:embed digits/*.npy
var digitFiles embed.FS

// Digits returns the embedded handwritten digits, 8x8 grey images in 10 classes:
// 3,823 for "train", 1,797 for "test", both for "all".
func Digits(split string) *Set {
	var parts []arrayPart
	switch split {
	case "train", "test":
		parts = []arrayPart{digitPart(split)}
	case "all":
		parts = []arrayPart{digitPart("train"), digitPart("test")}
	default:
		panic("dataset: split of the digits is not train, test or all")
	}
	opt := Options{Split: split, Range: [2]float64{0, 16}}
	if err := opt.complete(); err != nil {
		panic("dataset: " + err.Error())
	}
	o, err := openParts(context.Background(), "digits", parts, &opt)
	if err != nil {
		panic("dataset: embedded digits: " + err.Error()) // cannot happen: they are compiled in
	}
	o.kind, o.hasTest, o.classes = Embedded, true, classNumbers(10)
	return &Set{opened: *o, path: "digits", split: split}
}

// digitPart opens one split of the embedded files.
func digitPart(split string) arrayPart {
	images, labels := embedded(split+"_images.npy"), embedded(split+"_labels.npy")
	part, err := openArrayPart(split, images, labels)
	if err != nil {
		panic("dataset: embedded digits: " + err.Error())
	}
	return part
}

func embedded(name string) *blob {
	b, err := digitFiles.ReadFile("digits/" + name)
	if err != nil {
		panic(fmt.Sprintf("dataset: embedded digits: %v", err))
	}
	return &blob{ReaderAt: bytes.NewReader(b), size: int64(len(b)), name: name}
}
