/**
 * Asks for subscription messages inside the tap and reports every choice to a Hongyan server.
 *
 * What it promises: `wx.requestSubscribeMessage` is called synchronously in the tap; a choice is on
 * disk before it is posted and leaves it only when the server took it; nothing here throws into a
 * page. What it leaves to the page: what to show, and when to call `init`.
 */
import { startPush } from './push'
import type { Adapter, Config, Push } from './types'

export type * from './types'

declare const wx: Adapter | undefined

/** One for the whole mini program. Throws only for a configuration that cannot work. */
export function createPush(config: Config): Push {
  const adapter = config.adapter || (typeof wx === 'undefined' ? undefined : wx)
  if (!adapter || !config.appId || !config.baseURL) {
    throw new TypeError('createPush: appId, baseURL or wx is missing')
  }
  return startPush(config, adapter)
}
