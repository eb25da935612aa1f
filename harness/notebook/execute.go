package notebook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// execute runs one cell and returns its outputs and execution count. A cell
// that fails gives a *CellError without the file; any other error means that
// the conversation with the kernel broke down.
func (k *kernel) execute(ctx context.Context, cell *Cell, number int, d displays, limit time.Duration) ([]Output, int, error) {
	x := &execution{kernel: k, number: number, limit: limit, collector: collector{displays: d}}
	err := x.run(ctx, cell.Source())
	if err == nil && x.reply.Status != "ok" {
		err = x.explain(number, x.reply.kernelError)
	}
	if err == nil {
		if f := x.check(cell, number); f != nil {
			err = f
		}
	}
	var f *CellError
	if errors.As(err, &f) && x.reply.Status != "error" {
		x.push(f.output()) // the kernel has not reported it itself
	}
	return x.outputs, x.reply.Count, err
}

// execution is the state of one cell's execution.
type execution struct {
	collector
	kernel *kernel
	number int
	limit  time.Duration

	id            string // of our request
	reply         executeReply
	replied, idle bool
	stop          *CellError // why the cell was interrupted
}

type executeReply struct {
	kernelError
	Status string `json:"status"`
	Count  int    `json:"execution_count"`
}

// run sends the cell and reads messages until both the reply and the idle
// status have come; either can be first.
func (x *execution) run(ctx context.Context, code string) error {
	k := x.kernel
	var err error
	x.id, err = k.send(k.shell, "execute_request", map[string]any{
		"code": code, "silent": false, "store_history": true,
		"user_expressions": map[string]any{}, "allow_stdin": false, "stop_on_error": true,
	})
	if err != nil {
		return err
	}
	limit := time.NewTimer(x.limit)
	defer limit.Stop()
	again := time.NewTicker(interruptEvery)
	defer again.Stop()
	for !x.replied || !x.idle {
		select {
		case r := <-k.in:
			stopping := x.stop != nil
			if err := x.take(r); err != nil {
				return err
			}
			if x.stop != nil && !stopping {
				limit.Reset(interruptGrace)
			}
		case <-limit.C:
			if x.stop != nil { // it does not even end when interrupted
				return x.stop
			}
			x.interrupt(fmt.Sprintf("did not end within %v; do less in one cell, or allow more time", x.limit))
			limit.Reset(interruptGrace)
		case <-again.C:
			if x.stop != nil {
				x.sendInterrupt()
			}
		case <-k.died:
			return &CellError{Cell: x.number, Reason: fmt.Sprintf("%v: %s", errDied, k.endText), Detail: x.stderr.String()}
		case <-ctx.Done():
			return fmt.Errorf("notebook: stopped in cell %d: %w", x.number, context.Cause(ctx))
		}
	}
	if x.stop != nil {
		return x.stop
	}
	return nil
}

// interrupt stops the cell, which has failed for the reason given.
func (x *execution) interrupt(reason string) {
	x.stop = &CellError{Cell: x.number, Reason: reason}
	x.sendInterrupt()
}

// sendInterrupt asks the kernel to interrupt what runs. If the request cannot be sent, the
// grace period ends the cell.
func (x *execution) sendInterrupt() {
	_, _ = x.kernel.send(x.kernel.control, "interrupt_request", map[string]any{})
}

// take handles one message.
func (x *execution) take(r received) error {
	if r.err != nil {
		// A dying kernel closes its sockets first; its end tells more.
		select {
		case <-x.kernel.died:
			return nil
		case <-time.After(endGrace):
		}
		return fmt.Errorf("notebook: cell %d: %s socket: %w", x.number, r.from, r.err)
	}
	if r.msg.parent.ID != x.id {
		return nil // of an earlier request
	}
	switch r.from {
	case chanShell:
		if r.msg.header.Type == "execute_reply" {
			if err := json.Unmarshal(r.msg.content, &x.reply); err != nil {
				return fmt.Errorf("notebook: cell %d: execute_reply: %w", x.number, err)
			}
			x.replied = true
		}
	case chanStdin:
		if r.msg.header.Type == "input_request" && x.stop == nil {
			x.interrupt("asks for input, and a headless run has nobody to give it; put the value into the cell")
		}
	case chanIOPub:
		if isIdle(r.msg) {
			x.idle = true
			return nil
		}
		if err := x.add(r.msg); err != nil {
			return fmt.Errorf("notebook: cell %d: %w", x.number, err)
		}
	}
	return nil
}
