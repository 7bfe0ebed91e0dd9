package nat

import (
	"fmt"
	"html/template"
	"image"
	"strings"
)

// addPictures makes the parts of the page that are images of rows and of weights.
func (page *reportPage) addPictures(d *ReportData) (err error) {
	if page.Groups, err = neighbourGroups(d.Nearest); err != nil {
		return err
	}
	if page.Banks, err = bankViews(d.Filters); err != nil {
		return err
	}
	page.Pairs, err = pairViews(d.Restored)
	return err
}

// A neighbourGroup is a ReportNeighbours ready to show.
type neighbourGroup struct {
	Query  neighbourCell
	Strips []neighbourStrip
	Words  bool // vectors: names instead of images
}

// A neighbourStrip is the rows that one measure found.
type neighbourStrip struct {
	Name  string // of the measure
	Score string // how many are of the query's class; "" without labels
	Cells []neighbourCell
}

type neighbourCell struct {
	ID, Class, Cosine string
	Image             template.URL // "" for vectors
	Coarse            bool         // so few pixels that they should be seen
	Kind              string       // CSS class: same or other class as the query, or ""
	About             string       // all that is known, in words
}

func neighbourGroups(n *ReportNearest) (out []neighbourGroup, err error) {
	if n == nil {
		return nil, nil
	}
	for _, g := range n.Groups {
		v := neighbourGroup{Words: g.Query.Image == nil}
		if v.Query, err = newNeighbourCell(g.Query, g.Query, n.Classes); err != nil {
			return nil, err
		}
		v.Query.Kind, v.Query.Cosine = "", ""
		for _, s := range g.strips() {
			strip := neighbourStrip{Name: s.name}
			if same, labelled := sameClass(g.Query, s.items); labelled > 0 {
				strip.Score = fmt.Sprintf("%d of %d of its class", same, labelled)
			}
			for _, it := range s.items {
				cell, err := newNeighbourCell(it, g.Query, n.Classes)
				if err != nil {
					return nil, err
				}
				strip.Cells = append(strip.Cells, cell)
			}
			v.Strips = append(v.Strips, strip)
		}
		out = append(out, v)
	}
	return out, nil
}

// foundBy is what one measure found.
type foundBy struct {
	name  string
	items []ReportItem
}

// strips are what was found by each measure.
func (g *ReportNeighbours) strips() []foundBy {
	raw := "raw pixels"
	if g.Query.Image == nil {
		raw = "raw input"
	}
	return []foundBy{{"embedding", g.Found}, {raw, g.Raw}}
}

func newNeighbourCell(it, query ReportItem, classes []string) (neighbourCell, error) {
	c := neighbourCell{ID: it.ID, Class: className(classes, it.Class), Cosine: fmt.Sprintf("%.3f", it.Cosine), Kind: kinship(it, query)}
	c.About = it.ID
	if c.Class != "" {
		c.About += ", " + c.Class
	}
	if it.Image == nil {
		return c, nil
	}
	c.Coarse = coarse(it.Image)
	var err error
	c.Image, err = dataURI(it.Image, false)
	return c, err
}

// kinship compares the classes of two rows: "same", "other", or "" where one has none.
func kinship(it, query ReportItem) string {
	switch {
	case it.Class < 0 || query.Class < 0:
		return ""
	case it.Class == query.Class:
		return "same"
	}
	return "other"
}

// coarse tells whether an image has so few pixels that they should be seen.
func coarse(img image.Image) bool { return img.Bounds().Dx() <= 40 }

// A bankView is one picture of many filters.
type bankView struct {
	Title, About string
	Image        template.URL
}

func bankViews(f *ReportFilters) ([]bankView, error) {
	if f == nil {
		return nil, nil
	}
	var out []bankView
	for _, b := range f.banks() {
		uri, err := dataURI(tile(b.images), false)
		if err != nil {
			return nil, err
		}
		out = append(out, bankView{b.name, fmt.Sprintf("%d filters of %s %s", len(b.images), f.Layer, b.name), uri})
	}
	return out, nil
}

// bank is the pictures of a network's filters.
type bank struct {
	name   string
	images []image.Image
}

func (f *ReportFilters) banks() []bank {
	return []bank{{"after training", f.Trained}, {"before training", f.Untrained}}
}

// A pairView is a ReportPair ready to show.
type pairView struct {
	About              string
	Original, Restored template.URL
	Coarse             bool
}

func pairViews(r *ReportRestored) (out []pairView, err error) {
	if r == nil {
		return nil, nil
	}
	for _, p := range r.Pairs {
		v := pairView{About: strings.TrimSpace(p.Original.ID), Coarse: coarse(p.Original.Image)}
		if v.Original, err = dataURI(p.Original.Image, false); err == nil {
			v.Restored, err = dataURI(p.Restored.Image, false)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
