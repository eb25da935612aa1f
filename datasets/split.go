package datasets

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
)

// SplitOf says which split the pair (concept, vendor) belongs to; vendor counts Index.Vendors.
//
// The first 53 bits of a hash of the ID, as a fraction u of 1, decide: u < 0.65
// keeps both vendors in [Train], u < 0.88 puts one into [Test], the rest one into
// [Tuning]; another bit of the hash says which vendor.
func SplitOf(c Concept, vendor int) Split {
	sum := sha256.Sum256([]byte("split of " + c.ID))
	if apart := int(sum[8] & 1); vendor != apart {
		return Train
	}
	return shareOf(binary.BigEndian.Uint64(sum[:8]) >> 11)
}

// pair is one picture: a concept of one vendor. Both count the index's lists.
type pair struct{ concept, vendor int }

// pooled is a concept with the vendors that a split may show.
type pooled struct {
	concept int
	vendors []int
}

// group fills pools and groups, and checks that every question finds its distractors.
func (p *pack) group() error {
	p.pools = map[Split]map[bool][]pooled{}
	p.groups = map[Split]map[int][]int{}
	for _, s := range Splits() {
		p.pools[s] = map[bool][]pooled{}
		for i, c := range p.index.Concepts {
			var vendors []int
			for v := range p.index.Vendors {
				if SplitOf(c, v) == s {
					vendors = append(vendors, v)
				}
			}
			if len(vendors) == 0 {
				continue
			}
			p.pools[s][false] = append(p.pools[s][false], pooled{i, vendors})
			if c.Board {
				p.pools[s][true] = append(p.pools[s][true], pooled{i, vendors})
			}
		}
		if n := len(p.pools[s][true]); n < boardMost {
			return fmt.Errorf("datasets: emoji pack: %d concepts for boards of split %s, want %d or more", n, s, boardMost)
		}
		if n := len(p.pools[s][false]); n < choices {
			return fmt.Errorf("datasets: emoji pack: %d concepts in split %s, want %d or more", n, s, choices)
		}
		p.groups[s] = p.groupsOf(p.pools[s][false])
	}
	const letters = 7 // a name this short is three tokens or fewer, nearly always
	for _, c := range p.pools[Train][false] {
		if name := p.index.Concepts[c.concept].Name; len(name) <= letters && !strings.Contains(name, " ") {
			p.short = append(p.short, c)
		}
	}
	if len(p.short) == 0 {
		return fmt.Errorf("datasets: emoji pack: no training concept has a name of %d letters or fewer", letters)
	}
	return nil
}

// groupsOf divides a split's concepts into groups of at least four, out of which a
// question draws its choices: the kinds; where a kind is smaller, the small kinds
// of its category together; and what is still too small joins the group before it.
func (p *pack) groupsOf(pool []pooled) map[int][]int {
	kinds := map[string][]int{}
	for _, c := range pool {
		kind := p.index.Concepts[c.concept].Kind
		kinds[kind] = append(kinds[kind], c.concept)
	}
	members := map[string][]int{}
	var order []string
	for _, c := range pool { // not over the map: the order must be fixed
		concept := p.index.Concepts[c.concept]
		key := "kind " + concept.Kind
		if len(kinds[concept.Kind]) < choices {
			key = "category " + p.index.Concepts[kinds[concept.Kind][0]].Category
		}
		if members[key] == nil {
			order = append(order, key)
		}
		members[key] = append(members[key], c.concept)
	}
	var lists [][]int
	for _, key := range order {
		list := members[key]
		if n := len(lists); n > 0 && (len(list) < choices || len(lists[n-1]) < choices) {
			lists[n-1] = append(lists[n-1], list...)
			continue
		}
		lists = append(lists, list)
	}
	if n := len(lists); n > 1 && len(lists[n-1]) < choices {
		lists[n-2] = append(lists[n-2], lists[n-1]...)
		lists = lists[:n-1]
	}
	groups := map[int][]int{}
	for _, list := range lists {
		for _, concept := range list {
			groups[concept] = list
		}
	}
	return groups
}
