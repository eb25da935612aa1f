package notebook

import "syscall"

// processGroup puts the kernel into a process group of its own, and has it end
// when we die. SIGTERM lets it interrupt the running cell and clean up.
func processGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
