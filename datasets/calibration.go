package datasets

import (
	"fmt"
	"iter"
)

// CalibrationSamples is the size of a calibration set when none is given.
const CalibrationSamples = 128

// Calibrations returns the names of the built-in calibration sets.
func Calibrations() []string { return []string{"default"} }

// Calibration yields n image–text examples of the training split for calibrating
// a quantizer; n = 0 means [CalibrationSamples]. Sample i depends on (name, seed, i) only.
//
// "default": task emoji and task scene in turn, one question each; a scene sample
// has a board of its own and its question kinds take turns; emoji with names of
// several words or of more than seven letters are passed over, so that answers stay at about one to three tokens.
func Calibration(name string, seed uint64, n int) iter.Seq2[Example, error] {
	if n == 0 {
		n = CalibrationSamples
	}
	return sequence(n, func(i int) (Example, error) {
		if name != "default" {
			return Example{}, unknown("calibration set", name, Calibrations())
		}
		p, err := builtin()
		if err != nil {
			return Example{}, err
		}
		example, draw := calibrationSample(p, seed^calibrationSalt, i)
		example.ID = fmt.Sprintf("calibration-%s-%d-%d", name, seed, i)
		return example.with(draw)
	})
}

// calibrationSalt keeps calibration apart from the examples of the same seed.
const calibrationSalt = 0x63616c6962726174

// calibrationSample is sample i of the default set.
func calibrationSample(p *pack, seed uint64, i int) (Example, artwork) {
	if i%2 == 1 {
		number := i / 2
		return askScene(p, Train, seed, number*boardQuestions+number%boardQuestions)
	}
	return askEmojiOf(p, p.short, Train, seed, i/2)
}
