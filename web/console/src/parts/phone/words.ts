// Words that the server has in both languages.
import { useLanguage } from '../../i18n'

export type Text = { zh: string; en: string }

export function useWords() {
  const { language } = useLanguage()
  return (text: Text) => text[language.value]
}
