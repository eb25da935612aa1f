package datasets

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// CalibrationSamples is the size of a calibration set when none is given.
const CalibrationSamples = 128

// Calibrations returns the names of the built-in calibration sets. Tasks joined by "+",
// such as "emoji+scene+chart", are sets too: see [CalibrationTasks].
func Calibrations() []string { return []string{"default"} }

// CalibrationTasks returns the tasks that a calibration set draws from in turn: those
// between the "+" of its name, or of "default" all. The error of an unknown name lists
// the valid ones.
func CalibrationTasks(name string) ([]string, error) {
	if name == "default" {
		return taskNames(), nil
	}
	tasks := strings.Split(name, "+")
	for i, task := range tasks {
		if _, err := FindTask(task); err != nil {
			if len(tasks) > 1 {
				return nil, fmt.Errorf("datasets: calibration set %q: %w", name, err)
			}
			valid := Calibrations()
			for _, t := range Tasks() {
				valid = append(valid, t.Name)
			}
			return nil, fmt.Errorf("%w, or tasks joined by +, such as emoji+scene", unknown("calibration set", name, valid))
		}
		if slices.Contains(tasks[:i], task) {
			return nil, fmt.Errorf("datasets: calibration set %q names %s twice: expected each task once", name, task)
		}
	}
	return tasks, nil
}

// Calibration yields n image–text examples of the training split for calibrating
// a quantizer; n = 0 means [CalibrationSamples]. Sample i depends on (name, seed, i) only.
//
// The set's tasks take turns, one question each. A scene sample has a board of its own and its
// question kinds take turns; emoji with names of several words or of more than seven
// letters are passed over, so that answers stay at about one to three tokens.
func Calibration(name string, seed uint64, n int) iter.Seq2[Example, error] {
	if n == 0 {
		n = CalibrationSamples
	}
	tasks, err := CalibrationTasks(name)
	return sequence(n, func(i int) (Example, error) {
		if err != nil {
			return Example{}, err
		}
		p, err := builtin()
		if err != nil {
			return Example{}, err
		}
		example, draw, err := calibrationSample(p, tasks[i%len(tasks)], seed^calibrationSalt, i/len(tasks))
		if err != nil {
			return Example{}, err
		}
		example.ID = fmt.Sprintf("calibration-%s-%d-%d", name, seed, i)
		return example.with(draw)
	})
}

// calibrationSalt keeps calibration apart from the examples of the same seed.
const calibrationSalt = 0x63616c6962726174

// calibrationSample is a task's sample of that number.
func calibrationSample(p *pack, task string, seed uint64, number int) (Example, artwork, error) {
	switch task {
	case "emoji":
		e, draw := askEmojiOf(p, p.short, Train, seed, number)
		return e, draw, nil
	case "scene":
		e, draw := askScene(p, Train, seed, number*boardQuestions+number%boardQuestions)
		return e, draw, nil
	}
	t, err := FindTask(task)
	if err != nil {
		return Example{}, nil, err
	}
	e, draw := t.ask(p, Train, seed, number)
	return e, draw, nil
}
