// What happened, step by step, newest first. Steps keep the keys of their words, so that they
// are told in whatever language is read.
import { shallowRef } from 'vue'

import type { Schemas } from '../../api'
import type { Trace } from './sandbox'
import type { Tone } from '../Tag.vue'
import type phone from '../../texts/phone'

export type Who = 'phone' | 'wechat' | 'hongyan' | 'shop'

export type Step = {
  id: number
  at: number
  who: Who
  tone: Tone
  say: keyof typeof phone
  args: Record<string, string | number>
  /** What to know about it, from the server, in both languages. */
  why?: Schemas['Text']
  problem?: unknown
  calls: Trace[]
}

const most = 200

export function useStory() {
  const steps = shallowRef<Step[]>([])
  let n = 0
  return {
    steps,
    tell(who: Who, say: Step['say'], more: Partial<Omit<Step, 'id' | 'at' | 'who' | 'say'>> = {}) {
      const step: Step = { tone: 'still', args: {}, calls: [], ...more, id: ++n, at: Date.now(), who, say }
      steps.value = [step, ...steps.value].slice(0, most)
    },
    clear: () => (steps.value = []),
  }
}

export type Story = ReturnType<typeof useStory>
