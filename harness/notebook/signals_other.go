//go:build !unix

package notebook

import (
	"os"
	"os/exec"
	"syscall"
)

func processGroup() *syscall.SysProcAttr { return nil }

// killGroup kills p alone: process groups are a Unix concept.
func killGroup(p *os.Process) { _ = p.Kill() }

// alive cannot tell here, so it keeps what may be in use.
func alive(int) bool { return true }

// replaceProcess runs the program and waits for its end.
func replaceProcess(path string, argv, env []string) error {
	cmd := exec.Command(path, argv[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
