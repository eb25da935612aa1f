package datasets

import (
	"encoding/json"
	"fmt"
	"strings"
)

// emojiEntry is what the catalogue needs of an entry of emoji.json.
type emojiEntry struct {
	Short       string `json:"short_name"`
	Image       string `json:"image"`
	Category    string `json:"category"`
	Subcategory string `json:"subcategory"`
}

// parseCatalogue reads catalogue.txt (its head says how it is written) and looks
// the concepts up in emoji.json. Errors name the line.
func parseCatalogue(catalogue, emojiJSON []byte) ([]Concept, error) {
	var entries []emojiEntry
	if err := json.Unmarshal(emojiJSON, &entries); err != nil {
		return nil, fmt.Errorf("datasets: emoji.json: %w", err)
	}
	byShort := make(map[string]emojiEntry, len(entries))
	for _, e := range entries {
		byShort[e.Short] = e
	}
	var concepts []Concept
	kind := ""
	seen := map[string]bool{}
	for number, line := range strings.Split(string(catalogue), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if inner, ok := strings.CutPrefix(line, "["); ok {
			kind = strings.TrimSuffix(inner, "]")
			continue
		}
		c, short := parseConcept(line)
		entry, ok := byShort[short]
		fault := ""
		switch {
		case !ok:
			fault = fmt.Sprintf("emoji.json has no short name %q", short)
		case kind == "":
			fault = "the concept stands before the first [kind]"
		case seen[short] || seen["name "+c.Name]:
			fault = fmt.Sprintf("%q or its name %q appears twice", short, c.Name)
		}
		if fault != "" {
			return nil, fmt.Errorf("datasets: %s:%d: %s", catalogueFile, number+1, fault)
		}
		seen[short], seen["name "+c.Name] = true, true
		c.ID = strings.TrimSuffix(entry.Image, ".png")
		c.Short, c.Kind, c.Category, c.Subcategory = short, kind, entry.Category, entry.Subcategory
		concepts = append(concepts, c)
	}
	return concepts, nil
}

// parseConcept reads "*short = name".
func parseConcept(line string) (c Concept, short string) {
	line, c.Board = strings.CutPrefix(line, "*")
	short, c.Name, _ = strings.Cut(line, " = ")
	if c.Name == "" {
		c.Name = strings.NewReplacer("_", " ", "-", " ").Replace(short)
	}
	return c, short
}

// taskNames lists the names of all tasks.
func taskNames() []string {
	var names []string
	for _, t := range Tasks() {
		names = append(names, t.Name)
	}
	return names
}
