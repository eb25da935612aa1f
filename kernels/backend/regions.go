package backend

import "slices"

// regions hands out places in a stretch of memory, known in advance, whose size is
// found on the way: each takes the smallest gap that it fits into.
type regions struct {
	gaps []region // in order, none next to another
	size int
}

// region is a part of the stretch, in bytes.
type region struct{ at, size int }

// lineBytes is what regions begin at multiples of: a cache line.
const lineBytes = 64

// take finds a place for so many bytes.
func (r *regions) take(bytes int) region {
	bytes = max(lineBytes, (bytes+lineBytes-1)/lineBytes*lineBytes)
	best := -1
	for i, g := range r.gaps {
		if g.size >= bytes && (best < 0 || g.size < r.gaps[best].size) {
			best = i
		}
	}
	if best < 0 {
		at := r.size
		if k := len(r.gaps) - 1; k >= 0 && r.gaps[k].at+r.gaps[k].size == r.size { // the last gap grows
			at = r.gaps[k].at
			r.gaps = r.gaps[:k]
		}
		r.size = at + bytes
		return region{at, bytes}
	}
	g := &r.gaps[best]
	place := region{g.at, bytes}
	if g.at, g.size = g.at+bytes, g.size-bytes; g.size == 0 {
		r.gaps = slices.Delete(r.gaps, best, best+1)
	}
	return place
}

// give makes a place a gap.
func (r *regions) give(place region) {
	i, _ := slices.BinarySearchFunc(r.gaps, place.at, func(g region, at int) int { return g.at - at })
	r.gaps = slices.Insert(r.gaps, i, place)
	if i+1 < len(r.gaps) && r.gaps[i].at+r.gaps[i].size == r.gaps[i+1].at {
		r.gaps[i].size += r.gaps[i+1].size
		r.gaps = slices.Delete(r.gaps, i+1, i+2)
	}
	if i > 0 && r.gaps[i-1].at+r.gaps[i-1].size == r.gaps[i].at {
		r.gaps[i-1].size += r.gaps[i].size
		r.gaps = slices.Delete(r.gaps, i, i+1)
	}
}
