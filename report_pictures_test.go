package nat

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nat/dataset"
	"nat/encoder"
	"nat/internal/kernel"
	"nat/internal/rng"
)

// pictured is a run of a few steps on images of which every one is there twice, rows i
// and i + n/2, and its model.
func pictured(t *testing.T, opt Options) (*Run, *Model, *dataset.Set) {
	t.Helper()
	const n, side = 400, 8
	r := rng.New(3, "pictured")
	pixels := make([]uint8, n*side*side)
	half := len(pixels) / 2
	for i := range half {
		pixels[i] = uint8(r.IntN(256))
	}
	copy(pixels[half:], pixels[:half])
	opt.Data, opt.Out = filepath.Join(t.TempDir(), "images.npy"), filepath.Join(t.TempDir(), "run")
	writeNPY(t, opt.Data, []int{n, side, side}, pixels)
	opt.Encoder, opt.Dim, opt.Epochs, opt.Batch, opt.Workers, opt.CheckpointEvery = "convnet", 4, 1, 64, 2, "1000steps"
	mustTrain(t, opt)
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	m, err := run.Model(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	set, err := m.OpenData(context.Background(), opt.Data, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	return run, m, set
}

// The same image elsewhere in the data is the nearest row, by both measures.
func TestNearestFindsTwins(t *testing.T) {
	_, m, set := pictured(t, Options{})
	a := ask(set, nil, true, 1)
	held := map[int]bool{}
	_, rows := set.HoldOut()
	for _, i := range rows {
		held[i] = true
	}
	if len(a.queries) != reportQueries || len(a.searched) != set.Len()-len(rows) {
		t.Fatalf("%d rows ask among %d of %d", len(a.queries), len(a.searched), set.Len())
	}
	n, err := m.nearest(context.Background(), set, a)
	if err != nil {
		t.Fatal(err)
	}
	twins := 0
	for i, g := range n.Groups {
		row := a.queries[i]
		if !held[row] || g.Query.ID != set.ID(row) {
			t.Errorf("query %d is row %d, %s", i, row, g.Query.ID)
		}
		twin := (row + set.Len()/2) % set.Len()
		if held[twin] { // it is not searched
			continue
		}
		twins++
		for _, s := range g.strips() {
			if len(s.items) != reportNeighbours || s.items[0].ID != set.ID(twin) || math.Abs(s.items[0].Cosine-1) > 1e-5 {
				t.Errorf("the nearest of %s by %s is %+v, want %s", g.Query.ID, s.name, s.items[0], set.ID(twin))
			}
			if !slices.IsSortedFunc(s.items, func(a, b ReportItem) int { return int(math.Copysign(1, b.Cosine-a.Cosine)) }) {
				t.Errorf("the rows nearest to %s by %s are not in order", g.Query.ID, s.name)
			}
			// Embeddings of a few steps may lie closer than that; images do not.
			if s.items[1].Cosine > s.items[0].Cosine || s.name != "embedding" && s.items[1].Cosine > 1-1e-5 {
				t.Errorf("%s has two twins by %s", g.Query.ID, s.name)
			}
		}
	}
	if twins < reportQueries/2 {
		t.Errorf("only %d queries have a twin to find", twins)
	}
}

// Without rows that training has not seen, no row finds itself.
func TestAskAmongFew(t *testing.T) {
	images, labels := writeImages(t, 60, 4)
	set, err := dataset.Open(context.Background(), images, dataset.Options{Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	a := ask(set, nil, true, 1)
	both := slices.Sorted(slices.Values(slices.Concat(a.queries, a.searched)))
	if len(a.queries) != reportQueries || !slices.Equal(both, upTo(60)) {
		t.Errorf("%v ask among %v", a.queries, a.searched)
	}
	if b := ask(set, nil, true, 2); slices.Equal(a.queries, b.queries) {
		t.Error("another seed draws the same rows")
	}
	b := ask(set, set, true, 1)
	if len(b.searched) != 60 || !strings.Contains(b.words, "test split") {
		t.Errorf("with a test split: %d rows searched, %s", len(b.searched), b.words)
	}
}

func TestDrawRowsOfAllClasses(t *testing.T) {
	images, labels := writeImages(t, 400, 4) // four classes
	set, err := dataset.Open(context.Background(), images, dataset.Options{Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	rows := slices.DeleteFunc(upTo(400), func(i int) bool { return set.Label(i) == 3 && i > 3 }) // one of class 3
	got := drawRows(set, rows, 5)
	var classes []int
	for _, i := range got {
		classes = append(classes, set.Label(i))
	}
	if want := []int{0, 0, 0, 1, 1, 1, 2, 2, 2, 3}; !slices.Equal(classes, want) {
		t.Errorf("classes %v, want %v", classes, want)
	}
	plain, err := dataset.Open(context.Background(), images, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	distinct := map[int]bool{}
	for _, i := range drawRows(plain, upTo(400), 5) {
		distinct[i] = true
	}
	if len(distinct) != reportQueries {
		t.Errorf("without labels %d rows are drawn", len(distinct))
	}
}

func TestSearchIsBounded(t *testing.T) {
	m := &Model{}
	var err error
	pool := kernel.NewPool(1)
	defer pool.Close()
	spec, err := encoder.Preset("resnet18", encoder.Shape{H: 32, W: 32, C: 3}, 8)
	if err != nil {
		t.Fatal(err)
	}
	if m.Network, err = encoder.New(spec, 1, pool); err != nil {
		t.Fatal(err)
	}
	if n := m.searchRows(dataset.IDX, 60000); n != reportRows {
		t.Errorf("a slow network searches %d rows", n)
	}
	if spec, err = encoder.Preset("convnet", encoder.Shape{H: 28, W: 28, C: 1}, 64); err != nil {
		t.Fatal(err)
	}
	if m.Network, err = encoder.New(spec, 1, pool); err != nil {
		t.Fatal(err)
	}
	if n := m.searchRows(dataset.IDX, 60000); n != 60000 {
		t.Errorf("a fast network searches %d rows of 60,000", n)
	}
	if n := m.searchRows(dataset.Folder, 60000); n != searchFiles {
		t.Errorf("%d files are decoded", n)
	}
}

// network builds one from a description, its first weights planted.
func network(t *testing.T, spec encoder.Spec, weight func(i int) float32) *Model {
	t.Helper()
	pool := kernel.NewPool(1)
	t.Cleanup(pool.Close)
	net, err := encoder.New(spec, 1, pool)
	if err != nil {
		t.Fatal(err)
	}
	for i := range net.Params()[0].Value {
		net.Params()[0].Value[i] = weight(i)
	}
	norm := dataset.Normalizer{}
	for range spec.Input.C {
		norm.Mean, norm.Std = append(norm.Mean, 0), append(norm.Std, 1)
	}
	return &Model{Network: net, Norm: norm, Input: dataset.Shape(spec.Input), pool: pool}
}

func headed(in encoder.Shape, first ...encoder.Layer) encoder.Spec {
	return encoder.Spec{Name: "test", Input: in, Layers: append(first,
		encoder.Layer{Type: encoder.Flatten}, encoder.Layer{Type: encoder.Dense, Out: 2}, encoder.Layer{Type: encoder.L2Normalize})}
}

func greys(img image.Image) (out []uint8) {
	b := img.Bounds()
	for y := range b.Dy() {
		for x := range b.Dx() {
			out = append(out, color.GrayModel.Convert(img.At(x, y)).(color.Gray).Y)
		}
	}
	return out
}

func TestFiltersOfAGreyConvolution(t *testing.T) {
	// Unit 1 of two, 3x3: minus its largest weight at the upper left, half of it below.
	planted := map[int]float32{1: -.5, 2*3 + 1: .25}
	m := network(t, headed(encoder.Shape{H: 6, W: 6, C: 1}, encoder.Layer{Type: encoder.Conv, Out: 2, Kernel: 3, Stride: 1}),
		func(i int) float32 { return planted[i] })
	f, err := m.filters(&Record{Options: Options{Seed: 1}})
	if err != nil || f == nil || f.Layer != "conv1" || len(f.Trained) != 2 || len(f.Untrained) != 2 {
		t.Fatalf("%+v, %v", f, err)
	}
	if got, want := greys(f.Trained[1]), []uint8{0, 128, 128, 191, 128, 128, 128, 128, 128}; !slices.Equal(got, want) {
		t.Errorf("the filter is drawn as %v, want %v", got, want)
	}
	if got := greys(f.Trained[0]); slices.Max(got) != 128 || slices.Min(got) != 128 {
		t.Errorf("no weights are drawn as %v", got)
	}
	if got := greys(f.Untrained[1]); slices.Max(got) != 255 && slices.Min(got) != 0 {
		t.Errorf("an untrained filter is not scaled: %v", got)
	}
	if !strings.Contains(f.Note, "The 2 filters of 3 × 3 pixels of conv1") && !strings.Contains(f.Note, "3 × 3") {
		t.Error(f.Note)
	}
}

// Colours are those of pixels: a channel with half the deviation weighs twice as much.
func TestFiltersOfColour(t *testing.T) {
	m := network(t, headed(encoder.Shape{H: 4, W: 4, C: 3}, encoder.Layer{Type: encoder.Conv, Out: 1, Kernel: 2, Stride: 1}),
		func(i int) float32 { return []float32{1, 1, -1}[i%3] * float32(min(1, 3-i/3)) }) // nothing at the last pixel
	m.Norm.Std[0] = .5
	f, err := m.filters(&Record{Options: Options{Seed: 1}})
	if err != nil || f == nil {
		t.Fatal(f, err)
	}
	if got, want := f.Trained[0].At(0, 0), (color.RGBA{255, 191, 64, 255}); got != want {
		t.Errorf("the first pixel is %v, want %v", got, want)
	}
	if got, want := f.Trained[0].At(1, 1), (color.RGBA{128, 128, 128, 255}); got != want {
		t.Errorf("no weight is %v, want %v", got, want)
	}
}

// A unit of a dense layer has a weight for each pixel, at its place.
func TestFiltersOfADenseLayer(t *testing.T) {
	const pixel = 2*5 + 3 // row 2, column 3
	m := network(t, headed(encoder.Shape{H: 4, W: 5, C: 1}, encoder.Layer{Type: encoder.Flatten}, encoder.Layer{Type: encoder.Dense, Out: 200}),
		func(i int) float32 {
			if i == pixel*200+7 {
				return 1
			}
			return 0
		})
	f, err := m.filters(&Record{Options: Options{Seed: 1}})
	if err != nil || f == nil || len(f.Trained) != reportFilters {
		t.Fatalf("%+v, %v", f, err)
	}
	for i, img := range f.Trained {
		got := greys(img)
		if bright := slices.Index(got, 255); len(got) != 20 || i == 7 && bright != pixel || i != 7 && bright >= 0 {
			t.Errorf("unit %d is drawn as %v", i, got)
		}
	}
}

// What is drawn for a Sobel filter and a convolution does to an image what both do.
func TestFiltersBehindSobel(t *testing.T) {
	r := rng.New(1, "sobel")
	const side, k = 9, 3
	spec := headed(encoder.Shape{H: side, W: side, C: 1}, encoder.Layer{Type: encoder.Sobel}, encoder.Layer{Type: encoder.Conv, Out: 1, Kernel: k, Stride: 1})
	m := network(t, spec, func(int) float32 { return float32(r.NormFloat64()) })
	bank, ok := firstFilters(m.Network)
	if !ok {
		t.Fatal("no filters")
	}
	w, s := throughSobel(bank.unit(0), bank.shape)
	x := make([]float32, side*side)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	out, width, err := m.Network.Output(x, 1, "conv1")
	if err != nil || s.W != k+2 {
		t.Fatal(s, err)
	}
	across := side - k + 1
	if width != across*across {
		t.Fatalf("%d outputs", width)
	}
	for y := 1; y < across-1; y++ { // where no padding is seen
		for x0 := 1; x0 < across-1; x0++ {
			var want float64
			for dy := range s.H {
				for dx := range s.W {
					want += float64(w[dy*s.W+dx]) * float64(x[(y+dy-1)*side+x0+dx-1])
				}
			}
			if got := float64(out[y*across+x0]); math.Abs(got-want) > 1e-4 {
				t.Errorf("at %d, %d the network has %v, the picture's filter %v", y, x0, got, want)
			}
		}
	}
}

func TestNoFilters(t *testing.T) {
	vector := encoder.Spec{Name: "v", Input: encoder.Shape{H: 1, W: 1, C: 9}, Layers: []encoder.Layer{{Type: encoder.Dense, Out: 3}, {Type: encoder.L2Normalize}}}
	pixelwise := headed(encoder.Shape{H: 4, W: 4, C: 3}, encoder.Layer{Type: encoder.Conv, Out: 5, Kernel: 1, Stride: 1})
	for _, spec := range []encoder.Spec{vector, pixelwise} {
		if f, err := network(t, spec, func(int) float32 { return 1 }).filters(&Record{Options: Options{Seed: 1}}); f != nil || err != nil {
			t.Errorf("%s: %+v, %v", spec.Name, f, err)
		}
	}
}

// The decoder of the checkpoint restores what an independent pass through it does.
func TestRestored(t *testing.T) {
	run, m, set := pictured(t, Options{Objective: objectiveVAE})
	a := ask(set, nil, true, 1)
	r, err := m.restored(context.Background(), run, a, nil)
	if err != nil || r == nil || len(r.Pairs) != reportQueries {
		t.Fatalf("%+v, %v", r, err)
	}
	x := make([]float32, set.Shape().Size())
	if err := set.Read(a.queries[3], x); err != nil {
		t.Fatal(err)
	}
	if got, want := greys(r.Pairs[3].Original.Image), greys(thumbnail(x, set.Shape())); !slices.Equal(got, want) {
		t.Errorf("the original is %v, want %v", got, want)
	}
	if got := greys(r.Pairs[3].Restored.Image); len(got) != 64 || slices.Min(got) == slices.Max(got) {
		t.Errorf("restored: %v", got)
	}
	plain, other, _ := pictured(t, Options{})
	if r, err := other.restored(context.Background(), plain, a, nil); r != nil || err != nil {
		t.Errorf("a run without a decoder restores %+v, %v", r, err)
	}

	// Without the decoder's file there is a page nevertheless, and it says so.
	if err := os.Remove(filepath.Join(m.Checkpoint, assignmentFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.restored(context.Background(), run, a, nil); !errors.Is(err, ErrArtefact) {
		t.Errorf("without a decoder: %v", err)
	}
	var d ReportData
	if err := m.addRows(context.Background(), &d, run, set, nil, nil, 1); err != nil || len(d.Notes) != 1 || d.Restored != nil {
		t.Errorf("%v, notes %q", err, d.Notes)
	}
}

func TestRunReport(t *testing.T) {
	run, _, _ := pictured(t, Options{})
	dir := t.TempDir()
	opt := ReportOptions{Out: filepath.Join(dir, "page.html"), Pictures: filepath.Join(dir, "pictures"), Evals: []*EvalResult{
		{Run: "elsewhere/other", Checkpoint: "step-00000001", TrainRows: 9, TestRows: 9, Rows: []EvalRow{{Name: "run", Layer: "embedding", KNN: number(.4321)}}}}}
	files, err := run.Report(context.Background(), "", opt, nil)
	if err != nil || files.Report != opt.Out || len(files.Pictures) != 2 || len(files.Warnings) != 2 {
		t.Fatalf("%+v, %v", files, err)
	}
	html := readFile(t, opt.Out)
	for _, want := range []string{"0.432", "First layer", "Nearest neighbours", "step-00000001", "elsewhere/other", "held out of training"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for i, path := range files.Pictures {
		img, err := png.Decode(bytes.NewReader([]byte(readFile(t, path))))
		if err != nil || filepath.Base(path) != PictureNames()[i] {
			t.Fatal(path, err)
		}
		if b := img.Bounds(); b.Dx() < 200 || b.Dy() < 100 || b.Dx() > 2000 || b.Dy() > 2000 {
			t.Errorf("%s is %v", path, b)
		}
	}
	again := opt
	again.Out, again.Workers = filepath.Join(dir, "again.html"), 1
	if _, err := run.Report(context.Background(), "", again, nil); err != nil || readFile(t, again.Out) != html {
		t.Errorf("another number of workers gives another page, %v", err)
	}
}

// Frames and images are where the sheet says, and an image keeps its pixels.
func TestNearestSheet(t *testing.T) {
	grey := func(class int, level uint8) ReportItem {
		img := image.NewGray(image.Rect(0, 0, 32, 32))
		for i := range img.Pix {
			img.Pix[i] = level
		}
		return ReportItem{Class: class, Image: img}
	}
	n := &ReportNearest{Groups: []ReportNeighbours{{grey(1, 10), []ReportItem{grey(1, 20), grey(2, 30)}, []ReportItem{grey(-1, 40), grey(1, 50)}}}}
	s := nearestSheet(n)
	y := sheetMargin + sheetLine + sheetPitch/2
	first := sheetMargin + sheetPitch + sheetGap
	columns := []int{sheetMargin, first, first + sheetPitch, first + 2*sheetPitch + sheetGap, first + 3*sheetPitch + sheetGap}
	frames := []string{"", "same", "other", "", "same"}
	for i, x := range columns {
		if got := color.GrayModel.Convert(s.At(x+sheetPitch/2, y)).(color.Gray).Y; got != uint8(10*(i+1)) {
			t.Errorf("image %d has the grey %d", i, got)
		}
		want := color.RGBA{255, 255, 255, 255}
		if frames[i] != "" {
			want = sheetFrames[frames[i]]
		}
		if got := s.At(x+(sheetPitch-sheetCell)/2-1, y); got != want {
			t.Errorf("beside image %d is %v, want %v", i, got, want)
		}
	}
	if nearestSheet(nil) != nil || nearestSheet(&ReportNearest{Groups: []ReportNeighbours{{}}}) != nil {
		t.Error("a picture without images")
	}
	if title := nearestTitle(n, "x", 0); !strings.Contains(title, "1 of 2") {
		t.Error(title)
	}
}

func TestTile(t *testing.T) {
	var images []image.Image
	for i := range 10 {
		img := image.NewGray(image.Rect(0, 0, 3, 3))
		img.Pix[0] = uint8(20 * (i + 1))
		images = append(images, img)
	}
	out := tile(images)
	const pitch = 48 + 4 // 3 pixels by 16
	if want := image.Pt(8*pitch-4, 2*pitch-4); out.Bounds().Size() != want {
		t.Fatalf("ten filters of 3x3 take %v, want %v", out.Bounds().Size(), want)
	}
	for i := range images {
		if r, _, _, _ := out.At(i%8*pitch+15, i/8*pitch+15).RGBA(); r>>8 != uint32(20*(i+1)) {
			t.Errorf("the corner of filter %d is %d", i, r>>8)
		}
	}
	if _, _, _, a := out.At(7*pitch+10, pitch+10).RGBA(); a != 0 {
		t.Error("an empty place is not transparent")
	}
}
