package models

import "math"

// textRotary fills the rotary tables of M-RoPE for the positions (time, height,
// width) of n tokens: cos and sin, [n, headDim] each. MRopeSection assigns
// the first frequencies to time, the next to height, the rest to width; the second
// half of a head repeats the first (Qwen2-VL, arXiv:2409.12191, section 2.1). An
// empty MRopeSection leaves all frequencies to the first axis.
func textRotary(t *TextConfig, positions [3][]int32, cos, sin []float32) {
	half := t.HeadDim / 2
	axis := make([]int, half)
	j := 0
	for a, n := range t.MRopeSection {
		for range n {
			axis[j] = a
			j++
		}
	}
	for i := range positions[0] {
		for j := range half {
			inv := math.Pow(t.RopeTheta, -2*float64(j)/float64(t.HeadDim))
			setAngle(cos, sin, i*t.HeadDim+j, half, float64(positions[axis[j]][i])*inv)
		}
	}
}

// RotaryAngles are the angles by which Qwen2-VL's vision tower turns the patches of
// a grid (time, height, width): [patches, half a head's width], the first half from
// the row, the second from the column. Patches come merge block by merge block.
func (v *VisionConfig) RotaryAngles(grid [3]int) []float64 {
	quarter, half := v.HeadDim()/4, v.HeadDim()/2
	angles := make([]float64, 0, grid[0]*grid[1]*grid[2]*half)
	for range grid[0] {
		forEachPatch(grid[1], grid[2], v.Merge, func(row, col int) {
			for _, place := range [2]int{row, col} {
				for j := range quarter {
					inv := math.Pow(10000, -2*float64(j)/float64(half))
					angles = append(angles, float64(place)*inv)
				}
			}
		})
	}
	return angles
}

// visionRotary fills the two-dimensional rotary tables of a patch grid, [n, headDim]
// each; the second half of a head repeats the first.
func visionRotary(v *VisionConfig, grid [3]int, cos, sin []float32) {
	half := v.HeadDim() / 2
	for k, angle := range v.RotaryAngles(grid) {
		setAngle(cos, sin, k/half*2*half+k%half, half, angle)
	}
}

// setAngle writes an angle at index k and at its partner half a head later.
func setAngle(cos, sin []float32, k, half int, angle float64) {
	s, c := math.Sincos(angle)
	cos[k], cos[k+half] = float32(c), float32(c)
	sin[k], sin[k+half] = float32(s), float32(s)
}

// forEachPatch visits the patches of a rows × cols grid in the order of the
// image processor: merge × merge blocks from the top left, row-major inside.
func forEachPatch(rows, cols, merge int, visit func(row, col int)) {
	for r := 0; r < rows; r += merge {
		for c := 0; c < cols; c += merge {
			for dr := range merge {
				for dc := range merge {
					visit(r+dr, c+dc)
				}
			}
		}
	}
}

// appendText gives n text tokens the positions from start on, equal on all three
// axes, and returns the position after them.
func appendText(p *[3][]int32, start int32, n int) int32 {
	for i := range int32(n) {
		for a := range p {
			p[a] = append(p[a], start+i)
		}
	}
	return start + int32(n)
}

// appendImage gives the merged tokens of a picture the positions start + (time,
// row, column), and returns the position after the largest of them.
func appendImage(p *[3][]int32, start int32, grid [3]int, merge int) int32 {
	rows, cols := grid[1]/merge, grid[2]/merge
	for t := range grid[0] {
		for r := range rows {
			for c := range cols {
				for a, v := range [3]int{t, r, c} {
					p[a] = append(p[a], start+int32(v))
				}
			}
		}
	}
	return start + int32(max(grid[0], rows, cols))
}
