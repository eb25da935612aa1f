package backend

import (
	"cmp"
	"runtime"
	"slices"
)

// Operations that compute a row of their output from the same row of their inputs
// run together, a few rows at a time, so that what lies between them never leaves
// the cache: a strip. Each operation does what it would do alone, in the same
// order, so that results are the same bytes.

// fuser joins the nodes of an executable into strips.
type fuser struct {
	*executable
	group  []*strip // per node: its strip, or nil
	visits []int    // per node: the last search that passed it
	search int
	// until is, per node, the last member of any strip that has a member up to the
	// node and one behind it, or the node itself.
	until []int
}

// maxMembers bounds the operations of a strip.
const maxMembers = 64

// leastRows is the number of rows from which on a strip has enough to share out.
// It decides what runs together, not what comes out.
func leastRows() int { return max(8, 2*runtime.GOMAXPROCS(0)) }

// fusing is off where tests run each operation by itself.
var fusing = true

// fuse finds the strips, greedily in the order of creation.
func (e *executable) fuse() []*strip {
	if !fusing {
		return nil
	}
	f := &fuser{executable: e, group: make([]*strip, len(e.nodes)), visits: make([]int, len(e.nodes))}
	for i, n := range e.nodes {
		f.until = append(f.until, i)
		if n.rows == nil || n.rows.aligned == nil {
			continue
		}
		own := &strip{members: []int{i}, rows: naturalRows(n)}
		if own.rows < leastRows() {
			own.rows = 0
		}
		f.group[i] = own
		for _, in := range e.inputs[i] {
			if g := f.group[e.root(in)]; g != nil && g != f.group[i] && !f.late(i, g) {
				f.join(g, f.group[i])
			}
		}
	}
	var list []*strip
	for i, g := range f.group {
		switch {
		case g == nil:
		case len(g.members) == 1:
			f.group[i] = nil
		case g.members[0] == i:
			list = append(list, g)
		}
	}
	return list
}

// late tells whether a strip could have computed a node long before it is needed:
// something that is not in a strip came between, and the node waits for none
// of it. Such nodes mostly belong to what follows, the gradients; computed early
// their result would only take up memory.
func (f *fuser) late(i int, g *strip) bool {
	last := g.members[len(g.members)-1]
	for _, in := range f.inputs[i] {
		if f.root(in) > last {
			return false
		}
	}
	for k := last + 1; k < i; k++ {
		if n := f.nodes[k]; n.computed() && f.group[k] == nil {
			return true
		}
	}
	return false
}

// naturalRows is how many rows an operation's output has, as it is.
func naturalRows(n *node) int {
	if n.rows.natural > 0 {
		return n.rows.natural
	}
	rank := n.shape.Rank()
	if rank == 0 {
		return 0
	}
	if rows := size(n.shape.Dimensions[:rank-1]); rows > 1 {
		return rows
	}
	return n.shape.Dimensions[rank-1]
}

// join makes one strip of two, if one number of rows suits both, every value that
// passes between them stays in its row, and nothing outside lies between them.
func (f *fuser) join(a, b *strip) bool {
	if len(a.members)+len(b.members) > maxMembers {
		return false
	}
	both := slices.Concat(a.members, b.members)
	slices.Sort(both)
	for _, rows := range rowChoices(a.rows, b.rows) {
		if !f.suits(a, b, both, rows) {
			continue
		}
		joined := &strip{members: both, rows: rows}
		if f.leaves(a, b, joined) {
			return false
		}
		for _, m := range both {
			f.group[m] = joined
		}
		last := both[len(both)-1]
		for i := both[0]; i < last; i++ {
			f.until[i] = max(f.until[i], last)
		}
		return true
	}
	return false
}

// rowChoices are the numbers of rows that may suit two strips, most first.
func rowChoices(a, b int) []int {
	list := []int{a, b}
	slices.SortFunc(list, func(x, y int) int { return cmp.Compare(y, x) })
	return slices.DeleteFunc(slices.Compact(list), func(rows int) bool { return rows < leastRows() })
}

// suits tells whether strips can be seen as the given number of rows.
func (f *fuser) suits(a, b *strip, both []int, rows int) bool {
	for _, m := range both {
		n := f.nodes[m]
		if size := n.shape.Size(); size == 0 || size%rows != 0 || size/rows%max(1, n.rows.grain) != 0 {
			return false
		}
		for k, in := range f.inputs[m] {
			if g := f.group[f.root(in)]; (g == a || g == b) && !n.rows.aligned(k, rows) {
				return false
			}
		}
	}
	return true
}

// leaves tells whether a value leaves two strips, passes another operation and
// comes back; those cannot be joined.
func (f *fuser) leaves(a, b, joined *strip) bool {
	f.search++
	first := joined.members[0]
	var reaches func(i int) bool
	reaches = func(i int) bool {
		if f.visits[i] == f.search || f.before(i, first) {
			return false
		}
		f.visits[i] = f.search
		list := []int{i}
		if g := f.group[i]; g == a || g == b {
			return true
		} else if g != nil {
			list = g.members
		}
		for _, m := range list {
			f.visits[m] = f.search
			if slices.ContainsFunc(f.inputs[m], reaches) {
				return true
			}
		}
		return false
	}
	for _, m := range joined.members {
		for _, in := range f.inputs[m] {
			r := f.root(in)
			if g := f.group[r]; g != a && g != b && reaches(r) {
				return true
			}
		}
	}
	return false
}

// before tells whether a node and all that it needs, strips as a whole, were
// created before another node.
func (f *fuser) before(i, first int) bool {
	for i < first && f.until[i] > i {
		i = f.until[i]
	}
	return i < first
}

// step is what runs at a time: a node, or a strip.
type step struct {
	node  int
	strip *strip // nil for a node
}

// schedule orders strips and other nodes so that each comes after what it needs,
// otherwise in the order of creation.
func (e *executable) schedule() {
	group := make([]*strip, len(e.nodes))
	for _, g := range e.fuse() {
		for _, m := range g.members {
			group[m] = g
		}
	}
	done := make([]bool, len(e.nodes))
	var emit func(i int)
	emit = func(i int) {
		if done[i] {
			return
		}
		s := step{node: i, strip: group[i]}
		members := []int{i}
		if s.strip != nil {
			members = s.strip.members
		}
		for _, m := range members {
			done[m] = true
		}
		for _, m := range members {
			for _, in := range e.inputs[m] {
				emit(in)
			}
		}
		if s.strip != nil || e.nodes[i].computed() {
			e.steps = append(e.steps, s)
		}
	}
	for i := range e.nodes {
		emit(i)
	}
}
