package datasets

import (
	"fmt"
	"strconv"
	"strings"
)

// FindExample makes the example of an ID again: "emoji-test-0-12" is example 12
// of task emoji, split test, seed 0. An ID that no built-in task gives is an
// error. The picture is the one that was asked about only while [Hash] is the
// same.
func FindExample(id string) (Example, error) {
	parts := strings.Split(id, "-")
	if len(parts) != 4 {
		return Example{}, fmt.Errorf("datasets: example %q: expected TASK-SPLIT-SEED-NUMBER, such as emoji-test-0-12", id)
	}
	task, err := FindTask(parts[0])
	if err != nil {
		return Example{}, err
	}
	split, err := ParseSplit(parts[1])
	if err != nil {
		return Example{}, err
	}
	seed, seedErr := strconv.ParseUint(parts[2], 10, 64)
	number, numberErr := strconv.ParseUint(parts[3], 10, 31)
	if seedErr != nil || numberErr != nil {
		return Example{}, fmt.Errorf("datasets: example %q: expected two numbers at its end, the seed's and the example's", id)
	}
	return task.Example(split, seed, int(number))
}
