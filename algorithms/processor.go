package algorithms

import "golang.org/x/sys/cpu"

// FastGCM reports whether the processor has instructions for AES-GCM. With them it is seven times as fast here as ChaCha20-Poly1305, and
// without them it takes three times as long.
func FastGCM() bool {
	return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || cpu.S390X.HasAESGCM
}
