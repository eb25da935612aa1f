//go:build unix && !linux

package notebook

import "syscall"

// processGroup puts the kernel into a process group of its own.
func processGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
