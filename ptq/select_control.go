package ptq

// random reports whether the control draws random numbers.
func (c Control) random() bool {
	return c == ControlShuffled || c == ControlRandom || c == ControlFewer
}

// shuffle permutes what is known of tokens among those of a modality of one
// sample.
func (s *selector) shuffle(list []pooled) {
	for _, part := range byModality(list, true) {
		s.rand.Shuffle(len(part), func(i, j int) {
			a, b := part[i], part[j]
			a.raw, b.raw = b.raw, a.raw
			a.score, b.score = b.score, a.score
			a.weight, b.weight = b.weight, a.weight
		})
	}
}

// chooseSamples replaces the selection by whole samples in random order, until
// as many tokens are in the set as were selected: see [ControlFewer].
func (s *selector) chooseSamples(all []pooled, weights [][]float32) {
	budget := 0
	bySample := make([]map[int]*pooled, len(weights))
	for i := range all {
		p := &all[i]
		if p.kept {
			budget++
			p.kept = false
		}
		if bySample[p.sample] == nil {
			bySample[p.sample] = map[int]*pooled{}
		}
		bySample[p.sample][p.token] = p
	}
	for _, row := range weights {
		for _, w := range row {
			if w >= 0 {
				budget++
			}
		}
	}
	for _, i := range s.rand.Perm(len(weights)) {
		for t := range weights[i] {
			p := bySample[i][t]
			switch {
			case budget == 0:
				weights[i][t] = -1
			case p != nil:
				p.kept = true
				budget--
			case weights[i][t] >= 0:
				budget--
			}
		}
	}
}
