package datasets

import (
	"fmt"
	"image"
	"iter"
)

// QA is a question about a picture and its answer.
type QA struct{ Question, Answer string }

// Picture is one training item: a picture and several independent questions about it, for training many answers on one prefix.
type Picture struct {
	Image  image.Image // 128×128 opaque RGBA
	QA     []QA        // different questions
	Labels []Label     // what is where, for training that asks every vision token
}

// Label says what a part of a picture shows: the name of an emoji, a letter, the value
// of a bar. Areas of a picture don't overlap, but where lines of words touch.
type Label struct {
	Area image.Rectangle // pixels
	Text string
}

// PictureAt returns picture i ≥ 0 of the training stream; the tasks take turns. It
// depends on (tasks, seed, i) only, so that training resumes anywhere.
func PictureAt(tasks []string, seed uint64, i int) (Picture, error) {
	makers, err := pictureMakers(tasks)
	if err != nil {
		return Picture{}, err
	}
	if i < 0 {
		return Picture{}, fmt.Errorf("datasets: picture %d: numbers start at 0", i)
	}
	p, err := builtin()
	if err != nil {
		return Picture{}, err
	}
	return makers[i%len(makers)](p, seed, i)
}

// Pictures yields the endless training stream of the tasks, from [Train] only:
// PictureAt(tasks, seed, 0), 1, …. An error ends it.
func Pictures(tasks []string, seed uint64) iter.Seq2[Picture, error] {
	return func(yield func(Picture, error) bool) {
		for i := 0; ; i++ {
			picture, err := PictureAt(tasks, seed, i)
			if !yield(picture, err) || err != nil {
				return
			}
		}
	}
}

type pictureMaker func(p *pack, seed uint64, i int) (Picture, error)

// pictureMakers looks the tasks up.
func pictureMakers(tasks []string) ([]pictureMaker, error) {
	if len(tasks) == 0 {
		return nil, fmt.Errorf("datasets: no tasks to train on; name at least one")
	}
	known := map[string]pictureMaker{"emoji": emojiPicture, "scene": scenePicture, "chart": chartPicture, "text": textPictureAt, "blur": blurPicture}
	makers := make([]pictureMaker, len(tasks))
	for i, name := range tasks {
		if _, err := FindTask(name); err != nil {
			return nil, err
		}
		if makers[i] = known[name]; makers[i] == nil {
			return nil, fmt.Errorf("datasets: task %q has no training pictures", name)
		}
	}
	return makers, nil
}
