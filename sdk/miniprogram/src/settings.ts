import type { Status } from './types'
import type { Phone } from './phone'

export type Settings = ReturnType<typeof watchSettings>

/** What the phone's settings say of subscriptions, known only while nothing can have changed it. */
export function watchSettings(phone: Phone, changed: () => void) {
  let known: Status['remembered'] | undefined
  let reads = 0

  return {
    remembered: () => known,

    /** Until it ends nothing is known; a read that was under way before counts no more. */
    read(ids?: string[]): Promise<Status> {
      known = undefined
      const read = ++reads
      return phone
        .call('getSetting', { withSubscriptions: true })
        .catch(Object) // not known, then
        .then(({ subscriptionsSetting: s }) => {
          const { mainSwitch, itemSettings: all = {} } = Object(s)
          if (s && read === reads) known = all
          changed()
          const remembered: Status['remembered'] = {}
          for (const id in all) if (!ids || ids.indexOf(id) >= 0) remembered[id] = all[id]
          return { known: !!s, mainSwitch, remembered }
        })
    },
  }
}
