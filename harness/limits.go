package harness

import "fmt"

// What is made on demand could be made without end. These are the most that one command
// makes; far below them, more of it no longer changes what a result says.
const (
	// MaxSamples is the most calibration samples: 78 times the 128 that the methods' papers
	// use. All of them, their pictures' patches and their streams, are held at once.
	MaxSamples = 10_000
	// MaxPrompts is the most prompts of a diagnostic over all tasks, which are held at once too:
	// as many as decide a 1% difference.
	MaxPrompts = AllQuestions
	// MaxQuestions is the most questions of a task: the standard error of an accuracy is below
	// 0.16 points then, and a 1% difference takes a tenth of them.
	MaxQuestions = 10 * AllQuestions
	// MaxSeeds is the most calibration seeds: each is a whole calibration.
	MaxSeeds = 1000
)

// checkSamples refuses a number of calibration samples that nothing can be made of; field
// is what asked for it.
func checkSamples(field string, n int) error {
	if n < 1 || n > MaxSamples {
		return fmt.Errorf("%s %d: expected 1 to %d, which are held in memory together; the methods' papers use 128", field, n, MaxSamples)
	}
	return nil
}

// checkQuestions refuses a number of questions per task; 0 is all.
func checkQuestions(n int) error {
	if n < 0 || n > MaxQuestions {
		return fmt.Errorf("limit %d: expected 1 to %d questions per task, or 0 for all, %d of a generated task, which decide a 1%% difference", n, MaxQuestions, AllQuestions)
	}
	return nil
}

// checkSeeds refuses more calibration seeds than can ever be worked through.
func checkSeeds(n int) error {
	if n > MaxSeeds {
		return fmt.Errorf("%d calibration seeds: expected at most %d, each of which is a calibration of its own", n, MaxSeeds)
	}
	return nil
}
