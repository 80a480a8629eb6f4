import type { Adapter } from './types'

declare function setTimeout(fn: () => void, ms: number): unknown

export type Phone = ReturnType<typeof openPhone>

/** The phone below us: WeChat's calls as promises, storage that never throws, and a clock. */
export function openPhone(wx: Adapter, prefix: string, onStorageError: (err: any) => void) {
  function attempt<T>(fn: () => T): T | undefined {
    try {
      return fn()
    } catch (err) {
      onStorageError(err)
      return undefined
    }
  }
  return {
    /** Calls WeChat before it returns. What Taro's calls return settles the same promise. */
    call: (name: 'request' | 'login' | 'getSetting' | 'openSetting' | 'requestSubscribeMessage', options: object): Promise<any> =>
      new Promise((success, fail) => {
        const back = wx[name](Object.assign({ success, fail }, options))
        if (back && back.then) back.then(success, fail)
      }),
    load: <T>(key: string, missing: T): T => attempt(() => wx.getStorageSync(prefix + key)) || missing,
    store: (key: string, value: unknown): void => attempt(() => wx.setStorageSync(prefix + key, value)),
    now: (): number => (wx.now || Date.now)(),
    later: (fn: () => void, ms: number): unknown => (wx.setTimeout || setTimeout)(fn, ms),
    onShow: (fn: () => void): unknown => wx.onAppShow && wx.onAppShow(fn),
  }
}
