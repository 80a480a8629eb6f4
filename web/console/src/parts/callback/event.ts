// WeChat's events in words.
import texts from '../../texts/callbacks'

export const events = ['subscribe_msg_popup_event', 'subscribe_msg_change_event', 'subscribe_msg_sent_event', 'user_authorization_cancellation'] as const

/** The key of an event's words, if there are any. */
export function eventKey(event: string): keyof typeof texts | undefined {
  const key = `ev_${event}`
  return key in texts ? (key as keyof typeof texts) : undefined
}
