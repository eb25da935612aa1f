//go:build !amd64

package kernels

// roundLanes is roundLanesGo.
func (t *tile[T]) roundLanes(start, width, r int) { t.roundLanesGo(start, width, r) }
