//go:build unix

package progtest

import (
	"os/exec"
	"syscall"
)

// inGroup makes the program a group of its own: go run and java start what a kill of the
// first process would leave.
func inGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
