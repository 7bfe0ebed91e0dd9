package nat

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the template
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/image/draw"
)

//go:embed report.tmpl.html
var reportSource string

var reportTemplate = template.Must(template.New("report").Parse(reportSource))

// WriteReport writes d as one HTML page that needs nothing else: no network,
// no files. A content security policy in the page allows its own style and
// script, by their hashes, and images inside it; nothing more.
func WriteReport(w io.Writer, d ReportData) error {
	page := reportPage{ReportData: d, StyleHash: hashOf("style"), ScriptHash: hashOf("script")}
	for _, c := range d.Curves {
		page.Charts = append(page.Charts, newChart(c))
	}
	for _, e := range d.Evals {
		page.Tables = append(page.Tables, probeTables(e)...)
		page.Codes = append(page.Codes, codeTables(e)...)
		page.Profiles = append(page.Profiles, profiles(e)...)
	}
	if err := page.addPictures(&d); err != nil {
		return err
	}
	var err error
	if d.Map != nil {
		if page.Atlas, err = newAtlas(d.Map); err != nil {
			return err
		}
	}
	return reportTemplate.Execute(w, page)
}

// reportPage is what the template sees.
type reportPage struct {
	ReportData
	StyleHash, ScriptHash string
	Tables                []probeTable
	Charts                []chart
	Codes                 []probeTable
	Profiles              []profile
	Groups                []neighbourGroup
	Banks                 []bankView
	Pairs                 []pairView
	Atlas                 *atlas
}

// hashOf returns the policy's name for the page's only style or script.
func hashOf(tag string) string {
	body := regexp.MustCompile(`(?s)<` + tag + `>(.*?)</` + tag + `>`).FindStringSubmatch(reportSource)[1]
	sum := sha256.Sum256([]byte(body))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// A chart is a ReportCurve in the coordinates of its drawing.
type chart struct {
	Title, Note, XLabel string
	Width, Height       int
	Left, Right         float64 // of the plot
	Top, Bottom         float64
	X, Y                axis
	XTicks, YTicks      []tick
	Lines               []line
	Bands               []bandArea
}

// bandArea is a ReportBand in the coordinates of the drawing.
type bandArea struct{ Name, Points string }

type axis struct{ Min, Max float64 }

type tick struct {
	At    float64
	Label string
}

type line struct {
	Name      string
	Style     string // CSS class
	Reference bool
	Points    string
	Last      string  // value at the end
	X, Y      float64 // of the end
}

func newChart(c ReportCurve) chart {
	g := chart{Title: c.Title, Note: c.Note, XLabel: c.XLabel, Width: 460, Height: 230, Left: 46, Right: 448, Top: 12, Bottom: 196}
	g.X, g.Y = axis{math.Inf(1), math.Inf(-1)}, axis{math.Inf(1), math.Inf(-1)}
	for _, s := range c.Series {
		for i := range s.X {
			g.X = axis{min(g.X.Min, s.X[i]), max(g.X.Max, s.X[i])}
			g.Y = axis{min(g.Y.Min, s.Y[i]), max(g.Y.Max, s.Y[i])}
		}
	}
	for _, b := range c.Bands {
		for i := range b.X {
			g.Y = axis{min(g.Y.Min, b.Low[i]), max(g.Y.Max, b.High[i])}
		}
	}
	g.X.Min = min(0, g.X.Min)
	g.YTicks, g.Y = ticks(g.Y, true)
	g.XTicks, g.X = ticks(g.X, false)
	for i := range g.YTicks {
		g.YTicks[i].At = g.place(0, g.YTicks[i].At).y
	}
	for i := range g.XTicks {
		g.XTicks[i].At = g.place(g.XTicks[i].At, 0).x
	}
	drawn := 0
	for _, s := range c.Series {
		l := g.line(s)
		if l.Style = "reference"; !s.Reference {
			l.Style = "s" + strconv.Itoa(drawn%4)
			drawn++
		}
		g.Lines = append(g.Lines, l)
	}
	for _, b := range c.Bands {
		g.Bands = append(g.Bands, g.area(b))
	}
	return g
}

// area goes along the upper edge of a band and back along the lower one. It begins
// at the left of the chart, as there is no time at which a uniform sample is another.
func (g *chart) area(b ReportBand) bandArea {
	var edge strings.Builder
	add := func(x, y float64) {
		p := g.place(x, y)
		fmt.Fprintf(&edge, "%.1f,%.1f ", p.x, p.y)
	}
	for i := range b.X {
		if i == 0 {
			add(g.X.Min, b.High[i])
		}
		add(b.X[i], b.High[i])
	}
	for i := len(b.X) - 1; i >= 0; i-- {
		add(b.X[i], b.Low[i])
		if i == 0 {
			add(g.X.Min, b.Low[i])
		}
	}
	return bandArea{b.Name, strings.TrimSpace(edge.String())}
}

type point struct{ x, y float64 }

func (g *chart) place(x, y float64) point {
	return point{
		g.Left + (x-g.X.Min)/(g.X.Max-g.X.Min)*(g.Right-g.Left),
		g.Bottom - (y-g.Y.Min)/(g.Y.Max-g.Y.Min)*(g.Bottom-g.Top),
	}
}

func (g *chart) line(s ReportSeries) line {
	l := line{Name: s.Name, Reference: s.Reference}
	var b strings.Builder
	if len(s.X) == 1 { // a level line, or it would not be seen
		p := g.place(g.X.Min, s.Y[0])
		fmt.Fprintf(&b, "%.1f,%.1f ", p.x, p.y)
	}
	for i := range s.X {
		p := g.place(s.X[i], s.Y[i])
		fmt.Fprintf(&b, "%.1f,%.1f ", p.x, p.y)
		l.X, l.Y = p.x, p.y
		l.Last = decimals(s.Y[i])
	}
	l.Points = strings.TrimSpace(b.String())
	return l
}

// decimals writes a value of a chart, as the script of the page does.
func decimals(v float64) string {
	if math.Abs(v) < 10 {
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// ticks chooses round values over a range, about five; with widen, the range grows
// to the next round values.
func ticks(a axis, widen bool) ([]tick, axis) {
	if !(a.Max > a.Min) {
		pad := max(math.Abs(a.Min)/10, 1e-3)
		a = axis{a.Min - pad, a.Max + pad}
	}
	raw := (a.Max - a.Min) / 4
	step := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*step >= raw {
			step *= m
			break
		}
	}
	lo, hi := math.Ceil(a.Min/step-1e-9), math.Floor(a.Max/step+1e-9)
	if widen {
		lo, hi = math.Floor(a.Min/step+1e-9), math.Ceil(a.Max/step-1e-9)
		a = axis{lo * step, hi * step}
	}
	digits := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	lo += 0 // -0 would be printed as such
	var out []tick
	for i := lo; i <= hi; i++ {
		out = append(out, tick{i * step, strconv.FormatFloat(i*step, 'f', digits, 64)})
	}
	return out, a
}

// dataURI encodes an image into the page: as PNG or, lossy, as JPEG.
func dataURI(img image.Image, lossy bool) (template.URL, error) {
	var b bytes.Buffer
	kind, err := "png", error(nil)
	if lossy {
		kind, err = "jpeg", jpeg.Encode(&b, img, &jpeg.Options{Quality: 85})
	} else {
		err = png.Encode(&b, img)
	}
	if err != nil {
		return "", fmt.Errorf("report: thumbnail: %w", err)
	}
	return template.URL("data:image/" + kind + ";base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// An atlas is a ReportMap ready to draw. All thumbnails are one image, the
// sprite: cells of Cell pixels in rows of Columns.
type atlas struct {
	Layouts []layoutView
	Legend  []legendEntry
	Sprite  template.URL // "" for vectors
	Cell    int
	Columns int
	Ink     bool     // light strokes on black: the script draws them in the colour of their class
	Names   []string // of the items, for the script
	Labels  []string // their classes
	Side    string   // of a thumbnail on the map
}

type layoutView struct {
	Title, Note   string
	Width, Height int
	Dots          []dot
}

type dot struct {
	X, Y   string
	Colour string
	Class  int
}

type legendEntry struct {
	Class  int
	Name   string
	Colour string
}

// mapSide is the width and height of a map's drawing.
const mapSide = 1000

func newAtlas(m *ReportMap) (*atlas, error) {
	a := &atlas{Side: fmt.Sprintf("%.0f", min(60, max(18, 1.05*mapSide/math.Sqrt(float64(max(1, len(m.Items)))))))}
	classes := 0
	for _, it := range m.Items {
		classes = max(classes, it.Class+1)
		a.Names = append(a.Names, it.ID)
		a.Labels = append(a.Labels, className(m.Classes, it.Class))
	}
	for _, l := range m.Layouts {
		a.Layouts = append(a.Layouts, newLayout(l, m.Items, classes))
	}
	counts := make([]int, classes)
	for _, it := range m.Items {
		if it.Class >= 0 {
			counts[it.Class]++
		}
	}
	for c, n := range counts {
		if n > 0 {
			a.Legend = append(a.Legend, legendEntry{c, className(m.Classes, c), classColour(c, classes)})
		}
	}
	return a, a.addSprite(m.Items)
}

// newLayout scales coordinates, equally along both axes, to the drawing.
func newLayout(l ReportLayout, items []ReportItem, classes int) layoutView {
	v := layoutView{Title: l.Title, Note: l.Note, Width: mapSide, Height: mapSide}
	const margin = 34 // half a thumbnail
	lo, hi := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	for i := range 2 * len(items) {
		lo[i%2], hi[i%2] = min(lo[i%2], float64(l.XY[i])), max(hi[i%2], float64(l.XY[i]))
	}
	extent := max(hi[0]-lo[0], hi[1]-lo[1], 1e-9)
	scale := (mapSide - 2*margin) / extent
	v.Height = max(mapSide/3, int(math.Ceil((hi[1]-lo[1])*scale))+2*margin)
	for i, it := range items {
		x := mapSide/2 + (float64(l.XY[2*i])-(lo[0]+hi[0])/2)*scale
		y := float64(v.Height)/2 - (float64(l.XY[2*i+1])-(lo[1]+hi[1])/2)*scale
		v.Dots = append(v.Dots, dot{strconv.FormatFloat(x, 'f', 1, 64), strconv.FormatFloat(y, 'f', 1, 64), classColour(it.Class, classes), it.Class})
	}
	return v
}

// classColour gives ten classes colours that differ on light and on dark
// ground alike, more classes hues by the golden angle, and no class a grey.
func classColour(class, classes int) string {
	ten := [...]string{"#3f74d8", "#ea7a2a", "#2f9e5c", "#d63f53", "#8b5bd0", "#93683c", "#da5aab", "#7c8896", "#a5a11d", "#19a5bb"}
	switch {
	case class < 0:
		return "#7c8896"
	case classes <= len(ten):
		return ten[class]
	default:
		return fmt.Sprintf("hsl(%.0f 62%% 52%%)", math.Mod(float64(class)*137.508, 360))
	}
}

// addSprite puts all thumbnails into one image.
func (a *atlas) addSprite(items []ReportItem) error {
	small := make([]image.Image, len(items))
	grey := true
	for i, it := range items {
		if it.Image == nil {
			return nil
		}
		small[i] = shrink(it.Image, reportSprite)
		a.Cell = max(a.Cell, small[i].Bounds().Dx(), small[i].Bounds().Dy())
		_, isGrey := it.Image.(*image.Gray)
		grey = grey && isGrey
	}
	if len(items) == 0 {
		return nil
	}
	a.Columns = int(math.Ceil(math.Sqrt(float64(len(items)))))
	rect := image.Rect(0, 0, a.Columns*a.Cell, (len(items)+a.Columns-1)/a.Columns*a.Cell)
	var sprite draw.Image = image.NewRGBA(rect)
	if grey {
		sprite = image.NewGray(rect)
	}
	for i, img := range small {
		b := img.Bounds()
		corner := image.Pt(i%a.Columns*a.Cell+(a.Cell-b.Dx())/2, i/a.Columns*a.Cell+(a.Cell-b.Dy())/2)
		draw.Draw(sprite, image.Rectangle{corner, corner.Add(b.Size())}, img, b.Min, draw.Src)
	}
	a.Ink = grey && darkBorder(small)
	var err error
	a.Sprite, err = dataURI(sprite, !grey)
	return err
}

// darkBorder tells whether the outermost pixels of grey images are nearly
// black on the whole, as they are around handwriting and Fashion-MNIST.
func darkBorder(images []image.Image) bool {
	var sum, count float64
	for _, img := range images {
		g := img.(*image.Gray)
		for y := range g.Rect.Dy() {
			for x := range g.Rect.Dx() {
				if x == 0 || y == 0 || x == g.Rect.Dx()-1 || y == g.Rect.Dy()-1 {
					sum += float64(g.GrayAt(x, y).Y)
					count++
				}
			}
		}
	}
	return sum < 64*count
}
